"""What rounding does to a network: fake quantization, histograms, sensitivity."""
