"""What quantizing a convolutional network costs and buys, measured and gated."""

__version__ = "0.1.0"
