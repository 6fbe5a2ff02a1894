"""The NORTH* strategies of Maile et al."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.initializers import Initializer, RandomFanIn, Select
from keras_struct.strategies.grow import Grow
from keras_struct.triggers import EffectiveDimension, Trigger


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
