"""A module of benches for each group of metrics."""
