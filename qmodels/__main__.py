"""`python -m qmodels`, the same as `qmodels`."""

from qmodels.cli import main

main()
