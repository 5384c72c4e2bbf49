"""What a variant costs and buys, a module a metric; each gives ``gate.Metric`` values by name."""
