"""The NORTH* strategies of Maile et al."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.policies.initializer import Initializer
from keras_struct.policies.trigger import Trigger
from keras_struct.units.initializers.random import RandomFanIn
from keras_struct.units.initializers.select import PreActivation, Select
from keras_struct.units.initializers.weights import OrthogonalWeights
from keras_struct.units.strategies.grow import Grow
from keras_struct.units.triggers.effective_dimension import EffectiveDimension, WeightEffectiveDimension


@dataclass(frozen=True)
class North(Grow):
    """NORTH*: grow while units stay independent of each other, with the published hyperparameters.

    The presets say by which trigger that is measured (γ = 0.97 for activations, 0.99 for weights, ε = 0.01), and which weights
    new units get; the structure is looked at after every gradient step.

    Args:
        trigger: By default that of the preset.
        initializer: By default that of the preset.
        **others: As `Grow`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = EffectiveDimension()  # noqa: RUF009


@dataclass(frozen=True)
class NorthSelect(North):
    """NORTH-Select: `Grow(EffectiveDimension(), Select())`, see `North`.

    New units are the most independent of many random candidates: 1000 for dense and 100 for convolutional layers.
    """

    initializer: Initializer = Select()  # noqa: RUF009


@dataclass(frozen=True)
class NorthRandom(North):
    """NORTH-Random: `Grow(EffectiveDimension(), RandomFanIn())`, see `North`.

    New units have random incoming weights.
    """

    initializer: Initializer = RandomFanIn()  # noqa: RUF009


@dataclass(frozen=True)
class NorthPre(North):
    """NORTH-Pre: `Grow(EffectiveDimension(), PreActivation())`, see `North`.

    New units are candidates with orthogonal pre-activations.
    """

    initializer: Initializer = PreActivation()  # noqa: RUF009


@dataclass(frozen=True)
class NorthWeight(North):
    """NORTH-Weight: `Grow(WeightEffectiveDimension(), OrthogonalWeights())`, see `North`.

    New units have incoming weights orthogonal to the existing ones. It needs no data, and a layer never passes the number of
    its inputs.
    """

    trigger: Trigger | None = WeightEffectiveDimension()  # noqa: RUF009
    initializer: Initializer = OrthogonalWeights()  # noqa: RUF009
