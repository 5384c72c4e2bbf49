"""What the rest stands on: this machine, files, processes, packages, errors."""
