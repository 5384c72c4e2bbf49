"""Costs and gains of a variant, a module a metric; each gives metrics by name."""
