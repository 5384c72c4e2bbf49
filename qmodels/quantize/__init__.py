"""What rounding does to a network: fake quantization, calibration, sensitivity, exact integers."""
