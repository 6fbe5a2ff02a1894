"""Numbers are taken up to the ends of their ranges, and refused from there on."""

import pytest

from keras_struct import Budget, tuners
from keras_struct.callbacks import AveragedWeights, DropPathSchedule, WeightRewinding
from keras_struct.initializers import Bridge, CopyAndPerturb
from keras_struct.layers import DartsRNNCell
from keras_struct.nas.word_embedding import WordEmbedding
from keras_struct.schedules import Batched, Cubic, EveryNSteps, Linear, Once
from keras_struct.search import Admm, ConstantSchedule, FimtSchedule, Proximity
from keras_struct.strategies import (
    DeepRewiring,
    DropAndGrow,
    DynamicSurgery,
    Dyno,
    FreeEvolve,
    Grow,
    Prune,
    SymmetrySchedule,
    Synaptogenesis,
)
from keras_struct.triggers import (
    AuxiliaryGradient,
    Convergence,
    EffectiveDimension,
    FractionOfWidth,
    LostDimension,
    Plateau,
)

# What is taken, and what is refused.
POSITIVE = (1e-9, 0.5, 3.0), (0, -0.5)
NOT_NEGATIVE = (0, 0.5, 3.0), (-1e-9, -0.5)
BETWEEN = (1e-9, 0.5, 1 - 1e-9), (0, 1, -0.5, 1.5)
ABOVE_0_TO_1 = (1e-9, 0.5, 1), (0, 1 + 1e-9, -0.5, 1.5)
FROM_0_BELOW_1 = (0, 0.5, 1 - 1e-9), (-1e-9, 1, -0.5, 1.5)
FROM_0_TO_1 = (0, 0.5, 1), (-1e-9, 1 + 1e-9, -0.5, 1.5)
COUNT = (1, 2), (0, -1)
NUMBER = (0, 1), (-1,)

FIRES = FractionOfWidth(0.5)
RANGES = [
    (Budget, "flops", POSITIVE),
    (Budget, "parameters", POSITIVE),
    (Budget, "latency", ABOVE_0_TO_1),
    (FractionOfWidth, "fraction", POSITIVE),
    (EffectiveDimension, "gamma", POSITIVE),
    (EffectiveDimension, "epsilon", POSITIVE),
    (EffectiveDimension, "start", ABOVE_0_TO_1),
    (LostDimension, "delta", BETWEEN),
    (LostDimension, "epsilon", POSITIVE),
    (LostDimension, "start", ABOVE_0_TO_1),
    (AuxiliaryGradient, "threshold_factor", POSITIVE),
    (AuxiliaryGradient, "samples", COUNT),
    (Convergence, "units", COUNT),
    (Convergence, "window", COUNT),
    (Convergence, "threshold", POSITIVE),
    (Plateau, "patience", COUNT),
    (Plateau, "min_delta", NOT_NEGATIVE),
    (Plateau, "smoothing", FROM_0_BELOW_1),
    (Bridge, "keep", ABOVE_0_TO_1),
    (CopyAndPerturb, "noise", NOT_NEGATIVE),
    (EveryNSteps, "n", COUNT),
    (lambda units: Linear(units, 9), "units", COUNT),
    (lambda steps: Linear(9, steps), "steps", COUNT),
    (lambda stages: Batched(9, 9, stages), "stages", COUNT),
    (lambda minimum: Prune(FIRES, minimum=minimum), "minimum", COUNT),
    (lambda max_units: Grow(FIRES, max_units=max_units), "max_units", COUNT),
    (lambda max_units: Grow(FIRES, max_units={"a": max_units}), "max_units", COUNT),
    (lambda max_parameters: Grow(FIRES, max_parameters=max_parameters), "max_parameters", COUNT),
    (lambda max_flops: Grow(FIRES, max_flops=max_flops), "max_flops", COUNT),
    (Dyno, "delta", BETWEEN),
    (Dyno, "candidates", COUNT),
    (Dyno, "start", ABOVE_0_TO_1),
    (Once, "final", BETWEEN),
    (lambda step: Once(0.5, step), "step", COUNT),
    (lambda final: Cubic(final, 9), "final", BETWEEN),
    (lambda every: Cubic(0.5, 9, every=every), "every", COUNT),
    (lambda initial: Cubic(0.5, 9, initial=initial / 2), "initial", FROM_0_TO_1),
    (lambda start: Cubic(0.5, 9, start=start), "start", ((0, 8), (-1, 9, 10))),
    (DropAndGrow, "fraction", BETWEEN),
    (DropAndGrow, "decay_steps", COUNT),
    (DeepRewiring, "alpha", NOT_NEGATIVE),
    (DeepRewiring, "temperature", NOT_NEGATIVE),
    (DynamicSurgery, "margin", FROM_0_BELOW_1),
    (DynamicSurgery, "decay", NOT_NEGATIVE),
    (FreeEvolve, "epsilon", BETWEEN),
    (FreeEvolve, "every", COUNT),
    (FreeEvolve, "warmup", NUMBER),
    (FreeEvolve, "samples", COUNT),
    (Synaptogenesis, "max_density", ABOVE_0_TO_1),
    (WeightRewinding, "step", NUMBER),
    (SymmetrySchedule, "relax_above", FROM_0_TO_1),
    (SymmetrySchedule, "constrain_below", FROM_0_TO_1),
    (SymmetrySchedule, "momentum", FROM_0_BELOW_1),
    (SymmetrySchedule, "patience", COUNT),
    (SymmetrySchedule, "rest", NUMBER),
    (ConstantSchedule, "every", COUNT),
    (FimtSchedule, "ratio", POSITIVE),
    (FimtSchedule, "momentum", ABOVE_0_TO_1),
    (FimtSchedule, "threshold", POSITIVE),
    (FimtSchedule, "increase", ((1 + 1e-9, 2.0), (1, 0.5))),
    (Proximity, "strength", NOT_NEGATIVE),
    (Admm, "strength", NOT_NEGATIVE),
    (Admm, "every", COUNT),
    (Admm, "discount", FROM_0_TO_1),
    (lambda dropout: WordEmbedding(3, 2, dropout), "dropout", FROM_0_BELOW_1),
    (lambda dropout: DartsRNNCell(2, dropout=dropout), "dropout", FROM_0_BELOW_1),
    (
        lambda recurrent_dropout: DartsRNNCell(2, recurrent_dropout=recurrent_dropout),
        "recurrent_dropout",
        FROM_0_BELOW_1,
    ),
    (DropPathSchedule, "rate", FROM_0_BELOW_1),
    (AveragedWeights, "patience", NUMBER),
    (tuners.EvolutionOracle, "generations", NUMBER),
    (tuners.EvolutionOracle, "parents", COUNT),
]


@pytest.mark.parametrize(
    ("make", "name", "values"),
    RANGES,
    ids=lambda part: getattr(part, "__name__", part if isinstance(part, str) else ""),
)
def test_numbers_are_taken_up_to_the_ends_of_their_range(make, name, values):
    taken, refused = values
    for value in taken:
        make(**{name: value})
    for value in refused:
        with pytest.raises(ValueError, match=rf"\W{name}\W|{name}="):
            make(**{name: value})
