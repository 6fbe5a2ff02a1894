"""What the command line can choose among."""

STRATEGIES = {"north-select": "NorthSelect", "north-random": "NorthRandom"}
BACKENDS = ("tensorflow", "jax", "torch")

CRITERIA = {
    "smallest-norm": "SmallestNorm",
    "magnitude": "Magnitude",
    "batch-norm-scale": "BatchNormScale",
    "random": "RandomUnits",
    "activity": "Activity",
    "taylor": "Taylor",
    "fisher": "Fisher",
    "perturbation": "Perturbation",
    "most-similar": "MostSimilar",
    "correlation": "Correlation",
    "residual": "Residual",
    "leave-one-out": "LeaveOneOut",
    "surgeon": "OptimalBrainSurgeon",
}
"""Class in `keras_struct.selectors` of each criterion."""
GROUPS = ("C1", "C2", "C4", "D1", "D2", "D4")
METHODS = ("darts-prime", "darts", "constant", "fimt", "proximity", "admm", "crb")
"""Searches of `keras-struct darts`."""
