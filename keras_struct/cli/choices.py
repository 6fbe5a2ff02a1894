"""What the command line can choose among."""

STRATEGIES = {"north-select": "NorthSelect", "north-random": "NorthRandom"}
BACKENDS = ("tensorflow", "jax", "torch")

GROUPS = ("C1", "C2", "C4", "D1", "D2", "D4")
METHODS = ("darts-prime", "darts", "constant", "fimt", "proximity", "admm", "crb")
"""Searches of `keras-struct darts`."""
