"""Strategies that look at gradients: GradMax, Firefly and NeST, with the gradient trigger of Maile et al."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.policies.initializer import Initializer
from keras_struct.policies.trigger import Trigger
from keras_struct.units.initializers.firefly import DivideOrAdd
from keras_struct.units.initializers.gradmax import LargestGradient
from keras_struct.units.initializers.nest import Bridge
from keras_struct.units.strategies.grow import Grow
from keras_struct.units.triggers.gradient import AuxiliaryGradient


@dataclass(frozen=True)
class GradMax(Grow):
    """GradMax: grow where new units would learn faster than the others, by those whose first gradient is largest.

    `Grow(AuxiliaryGradient(), LargestGradient())`. The GradMax paper itself grows on a fixed schedule:
    `GradMax(trigger=FractionOfWidth(0.25), initializer=LargestGradient(scale=0.5), schedule=EveryNSteps(2500, start=10000))`.
    New units have no incoming weights: use `keras_struct.activations.relu1` in place of ReLU.

    Args:
        trigger: By default `AuxiliaryGradient()`.
        initializer: By default `LargestGradient()`.
        **others: As `Grow`.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022; Maile et al., *When, where,
        and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = AuxiliaryGradient()  # noqa: RUF009
    initializer: Initializer = LargestGradient()  # noqa: RUF009


@dataclass(frozen=True)
class Firefly(Grow):
    """Firefly: grow where new units would learn faster than the others, by dividing units or adding new ones.

    `Grow(AuxiliaryGradient(), DivideOrAdd())`, the form of the thesis; that of the Firefly paper is
    `Firefly(initializer=DivideOrAdd(keeps="loss_decrease", steps=10))`.

    Args:
        trigger: By default `AuxiliaryGradient()`.
        initializer: By default `DivideOrAdd()`.
        **others: As `Grow`.

    References:
        Wu, Liu, Stone, Liu, *Firefly Neural Architecture Descent*, NeurIPS 2020; Maile et al., *When, where, and how to
        add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = AuxiliaryGradient()  # noqa: RUF009
    initializer: Initializer = DivideOrAdd()  # noqa: RUF009


@dataclass(frozen=True)
class NeST(Grow):
    """NeST: grow where new units would learn faster than the others, by units that bridge the largest gradients.

    `Grow(AuxiliaryGradient(), Bridge())`.

    Args:
        trigger: By default `AuxiliaryGradient()`.
        initializer: By default `Bridge()`.
        **others: As `Grow`.

    References:
        Dai, Yin, Jha, *NeST: A Neural Network Synthesis Tool Based on a Grow-and-Prune Paradigm*, IEEE Transactions on
        Computers 2019; Maile et al., *When, where, and how to add new neurons to ANNs*, AutoML 2022 (thesis, Table 7).
    """

    trigger: Trigger | None = AuxiliaryGradient()  # noqa: RUF009
    initializer: Initializer = Bridge()  # noqa: RUF009
