"""How often the latency gate cries wolf, and what it misses."""
