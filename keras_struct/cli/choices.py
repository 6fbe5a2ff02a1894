"""What the command line can choose among."""

STRATEGIES = {"north-select": "NorthSelect", "north-random": "NorthRandom"}
BACKENDS = ("tensorflow", "jax", "torch")
