"""What a variant costs and buys, a module a metric; each gives metrics by name."""
