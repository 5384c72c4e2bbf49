"""Effects of rounding on a network: fake quantization, histograms, sensitivity."""
