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
