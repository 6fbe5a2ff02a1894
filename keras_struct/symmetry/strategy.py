"""Symmetries that are loosened and tightened while a network trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from keras_struct.core.structure.reconfiguring import Reconfigure
from keras_struct.core.structure.targets import EditTarget
from keras_struct.policies.layer_strategy import LayerStrategy
from keras_struct.policies.schedules import EveryNSteps, Schedule
from keras_struct.policies.strategy import steps_between
from keras_struct.symmetry.groups import Group
from keras_struct.symmetry.measurements import SymmetryMeasurement

Looks: TypeAlias = dict[str, int | list[float] | None]
"""By the name of a layer, the average share of its gradient and over how many evaluations; by `"name/rest"`, how many to skip."""


class Symmetries(EditTarget):
    """Symmetries of group convolutions, as what a strategy works on."""


@dataclass(frozen=True)
class SymmetrySchedule(LayerStrategy[SymmetryMeasurement, Looks]):
    """Relax layers whose gradients pull out of their symmetry, and constrain layers whose weights have come to one.

    For an expanded kernel W and the mean P over a group G, ‖W - P W‖ / ‖W‖ tells how far W is from being equivariant to G.
    Asked of the gradient by the expanded kernel and of the layer's own group, it tells how much of what the data want the
    symmetry does not allow; of a single batch much of that is noise, so that it is averaged over looks. Asked of the weights
    and of a larger group, it tells whether the layer has come to have that symmetry by itself.

    Args:
        relax_above: Relax a layer by one step when the averaged share of its gradient that leads out of its group is above this,
            to the largest subgroup out of which the gradient pulls least; `None` never relaxes.
        constrain_below: Constrain a layer to the largest group of its frame that its weights are nearer to than this; `None`
            never constrains.
        schedule: When to look.
        momentum: Of the average over looks.
        patience: Looks before a layer is relaxed for the first time, or again.
        rest: Looks after an edit of a layer before it may be constrained: right after it was relaxed it is as near to the old
            group as before.
        layers: Names of the convolutions; all group convolutions by default.

    Raises:
        ValueError: If there is no threshold, or one is not from 0 to 1; in training, if the model has no group convolution.

    References:
        The equivariance distance is that of Maile et al., ICLR 2023; scheduling by it is proposed as future work in Maile's
        thesis, section 8.1.2.
    """

    relax_above: float | None = 0.7
    constrain_below: float | None = None
    schedule: Schedule = EveryNSteps(100)  # noqa: RUF009
    momentum: float = 0.8
    patience: int = 3
    rest: int = 10

    works_on: ClassVar[type[EditTarget]] = Symmetries

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {n: v for n in ("relax_above", "constrain_below") if (v := getattr(self, n)) is not None}
        if not given or not all(0 <= value <= 1 for value in given.values()) or not 0 <= self.momentum < 1:
            raise ValueError(
                "SymmetrySchedule needs `relax_above` or `constrain_below`, from 0 to 1, and `momentum` from 0 up to 1. "
                f"Received: {given}, momentum={self.momentum}"
            )
        if self.patience < 1 or self.rest < 0:
            raise ValueError(
                f"`patience` must be positive and `rest` not negative. Received: patience={self.patience}, rest={self.rest}"
            )

    @property
    def needs_gradients(self) -> bool:
        """Whether the last batch must be kept, with its targets, for gradients of the loss."""
        return self.relax_above is not None

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there are symmetries to edit.

        Raises:
            ValueError: If the model has no group convolution, or one of `layers` is none.
        """
        if not targets:
            raise ValueError(
                "SymmetrySchedule edits symmetries, and the model has no GroupConv2D. Convert it with "
                "keras_struct.to_equivariant(model, 'D4'), or use applications.EquivariantCNN()."
            )
        if unknown := [name for name in self.layers or () if name not in targets]:
            raise ValueError(
                f"SymmetrySchedule cannot edit layers {unknown}: group convolutions are {sorted(targets)}."
            )

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so."""
        return any(self.schedule.due(s) for s in steps_between(step, since))

    def propose(
        self, step: int, measurements: Mapping[str, SymmetryMeasurement], state: Looks, since: int | None = None
    ) -> tuple[list[Reconfigure], Looks]:
        """Return the edits to make now, and the averages; see `Strategy.propose`."""
        edits: list[Reconfigure] = []
        remembered = dict(state)
        for name, measured in measurements.items():
            rest, average = state.get(f"{name}/rest"), state.get(name)
            resting = rest if isinstance(rest, int) else 0
            new = self._tighter(measured) if resting == 0 else None
            if new is None and self.relax_above is not None:
                new, remembered[name] = self._looser(measured, average if isinstance(average, list) else None)
            remembered[f"{name}/rest"] = max(0, resting - 1)
            if new is not None:
                edits += [Reconfigure(layer, {"group": new.name}) for layer in (name, *measured.followers)]
                remembered.pop(name, None)
                remembered[f"{name}/rest"] = self.rest
        return edits, remembered

    def _tighter(self, measured: SymmetryMeasurement) -> Group | None:
        if self.constrain_below is None:
            return None
        larger = [group for group in measured.frame.subgroups() if measured.group < group]
        near = [group for group in larger if measured.distance(group) < self.constrain_below]
        return near[-1] if near else None

    def _looser(
        self, measured: SymmetryMeasurement, state: list[float] | None
    ) -> tuple[Group | None, list[float] | None]:
        """A smaller group if it is time, and the average share with the number of evaluations."""
        below = [group for group in measured.group.subgroups() if group < measured.group]
        if not below:
            return None, state
        mean, looks = [0.0, 0] if state is None else state
        mean, looks = self.momentum * mean + (1 - self.momentum) * measured.pull(measured.group), looks + 1
        corrected = mean / (1 - self.momentum**looks)
        if looks < self.patience or corrected <= (self.relax_above or 0.0):
            return None, [mean, looks]
        steps = [group for group in below if not any(group < other for other in below)]
        return min(steps, key=measured.pull), [mean, looks]
