"""The NORTH* strategies of Maile et al."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.initializers import Initializer, OrthogonalWeights, PreActivation, RandomFanIn, Select
from keras_struct.strategies.grow import Grow
from keras_struct.triggers import EffectiveDimension, Trigger, WeightEffectiveDimension


@dataclass(frozen=True)
class NorthSelect(Grow):
    """NORTH-Select: grow while activations stay independent, by the most independent of many random candidates.

    `Grow(EffectiveDimension(), Select())`, with the published hyperparameters: γ = 0.97, ε = 0.01, 1000 candidates for
    dense and 100 for convolutional layers, evaluated after every gradient step.

    Args:
        trigger: By default `EffectiveDimension(gamma=0.97, epsilon=0.01)`.
        initializer: By default `Select()`.
        **others: As `Grow`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = EffectiveDimension()  # noqa: RUF009
    initializer: Initializer = Select()  # noqa: RUF009


@dataclass(frozen=True)
class NorthRandom(Grow):
    """NORTH-Random: grow while activations stay independent, by units with random incoming weights.

    `Grow(EffectiveDimension(), RandomFanIn())`, with the published hyperparameters.

    Args:
        trigger: By default `EffectiveDimension(gamma=0.97, epsilon=0.01)`.
        initializer: By default `RandomFanIn()`.
        **others: As `Grow`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = EffectiveDimension()  # noqa: RUF009
    initializer: Initializer = RandomFanIn()  # noqa: RUF009


@dataclass(frozen=True)
class NorthPre(Grow):
    """NORTH-Pre: grow while activations stay independent, by candidates with orthogonal pre-activations.

    `Grow(EffectiveDimension(), PreActivation())`, with the published hyperparameters.

    Args:
        trigger: By default `EffectiveDimension(gamma=0.97, epsilon=0.01)`.
        initializer: By default `PreActivation()`.
        **others: As `Grow`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = EffectiveDimension()  # noqa: RUF009
    initializer: Initializer = PreActivation()  # noqa: RUF009


@dataclass(frozen=True)
class NorthWeight(Grow):
    """NORTH-Weight: grow while incoming weights stay independent, by weights orthogonal to them.

    `Grow(WeightEffectiveDimension(), OrthogonalWeights())`, with the published hyperparameters. It needs no data, and a
    layer never passes the number of its inputs.

    Args:
        trigger: By default `WeightEffectiveDimension(gamma=0.99, epsilon=0.01)`.
        initializer: By default `OrthogonalWeights()`.
        **others: As `Grow`.

    References:
        Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = WeightEffectiveDimension()  # noqa: RUF009
    initializer: Initializer = OrthogonalWeights()  # noqa: RUF009
