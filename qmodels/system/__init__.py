"""Foundations of the rest: this machine, files, processes, packages, errors."""
