"""Prune a whole model until it costs no more than it may."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import keras
import numpy as np

from keras_struct.core.backend.keras_internals import is_library_class, structured_ends
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.measure.costs import Costs
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.statistics.flops import flops
from keras_struct.measure.statistics.flops_counter import symbolic_inputs
from keras_struct.policies.selector import Selector

Scope = Literal["global", "local"]

PASSES = 15
"""How many forward passes are timed."""


@final
@dataclass(frozen=True)
class Budget:
    """What a model may cost. A number up to 1 is a share of what it costs now, a larger one an absolute number.

    Args:
        flops: Floating point operations of the forward pass of one sample.
        parameters: Number of weights.
        latency: Time of a forward pass on this machine, compiled, with one sample: a share of the present time. It is
            measured, so that the result varies.

    Raises:
        ValueError: If nothing is given, or a number is not positive.

    >>> Budget(flops=0.5)
    Budget(flops=0.5, parameters=None, latency=None)
    """

    flops: float | None = None
    parameters: float | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise ValueError("A budget needs at least one of `flops`, `parameters` and `latency`. Received none.")
        for name, value in given.items():
            if not value > 0 or (name == "latency" and value > 1):
                kind = "a share, above 0 and up to 1" if name == "latency" else "a share up to 1 or a positive number"
                raise ValueError(f"`{name}` of a budget must be {kind}. Received: {name}={value}")


class Ranking:
    """The units of some axes in the order in which they go.

    Args:
        model: A `StructuralModel`.
        selector: Says what units are worth.
        scope: `"global"`: units of all axes are ranked together, saliencies divided by their mean over the axis; `"local"`: the
            same share of each axis goes.
        axes: Names of the axes; all editable ones by default.
        minimum: How many units each axis keeps at least.
        multiple: Widths are rounded up to multiples of this.

    Raises:
        ValueError: If a value is out of range, an axis is unknown, or there is none.
    """

    def __init__(
        self,
        model: Any,
        selector: Selector,
        scope: Scope = "global",
        axes: Sequence[str] | None = None,
        minimum: int = 1,
        multiple: int = 1,
    ) -> None:
        if scope not in ("global", "local"):
            raise ValueError(f"`scope` must be 'global' or 'local'. Received: scope={scope!r}")
        if minimum < 1 or multiple < 1:
            raise ValueError(
                f"`minimum` and `multiple` must be at least 1. Received: minimum={minimum}, multiple={multiple}"
            )
        self.selector, self.scope, self.minimum, self.multiple = selector, scope, minimum, multiple
        self.asked = {axis: model.measure(axis) for axis in _acting(model, axes)}
        self._named = axes is not None

    @cached_property
    def relative(self) -> dict[str, np.ndarray]:
        """Saliencies, from 0 on, divided by their mean over the axis."""
        found, refusals = {}, list[AxisRefused]()
        for axis, measured in self.asked.items():
            try:
                scores = self.selector.checked_scores(measured)
            except AxisRefused as refusal:
                if self._named:
                    raise
                refusals.append(refusal)
                continue
            worth = scores - min(0.0, float(scores.min()))
            mean = float(worth.mean())
            found[axis] = worth / mean if mean > 0 else np.ones_like(worth)
        if not found:
            raise refusals[0]
        for left_out in refusals:
            warnings.warn(f"{type(self.selector).__name__} leaves out an axis. {left_out}", stacklevel=6)
        return found

    @cached_property
    def measured(self) -> dict[str, AxisMeasurement]:
        """Measurements of the axes whose units can be ranked; unless they were named, the others are left out."""
        return {axis: measured for axis, measured in self.asked.items() if axis in self.relative}

    def widths(self, share: float) -> dict[str, int]:
        """How wide each axis is when a share of the units, or of those of each axis, has gone."""
        if self.scope == "local":
            return self._rounded({axis: m.units * (1.0 - share) for axis, m in self.measured.items()})
        everything = np.sort(np.concatenate(list(self.relative.values())))
        gone = round(share * len(everything))
        return self._above(everything[gone - 1] if gone else -np.inf)

    def _above(self, threshold: float) -> dict[str, int]:
        return self._rounded({axis: float((worth > threshold).sum()) for axis, worth in self.relative.items()})

    def _rounded(self, widths: Mapping[str, float]) -> dict[str, int]:
        """Whole widths: the next higher multiple, no fewer than the minimum and no more than there are."""
        found = {axis: self.multiple * int(np.ceil(round(w, 9) / self.multiple)) for axis, w in widths.items()}
        return {axis: min(self.measured[axis].units, max(width, self.minimum)) for axis, width in found.items()}

    def edits(self, share: float) -> list[Resize]:
        """The edits after which a share has gone."""
        return self._to(self.widths(share))

    def below(self, threshold: float) -> list[Resize]:
        """The edits after which units are gone whose saliency is below a multiple of the mean over their axis."""
        return self._to(self._above(np.nextafter(threshold, -np.inf)))

    def _to(self, wanted: Mapping[str, int]) -> list[Resize]:
        facts = self.measured.items()
        return [self.selector.propose(m, m.units - wanted[axis]) for axis, m in facts if wanted[axis] < m.units]


def prune_by(ranking: Ranking, fraction: float | None, threshold: float | None) -> list[Resize]:
    """Return the edits that remove a share of the units, or those below a threshold.

    Raises:
        ValueError: If a value is out of range.
    """
    if fraction is not None:
        if not 0 < fraction < 1:
            raise ValueError(
                f"`fraction` is the share of units that go, between 0 and 1. Received: fraction={fraction}"
            )
        return ranking.edits(fraction)
    if threshold is None or not threshold > 0:
        raise ValueError(
            "`threshold` is a positive multiple of the mean saliency of an axis; units below it go. Received: "
            f"threshold={threshold}"
        )
    return ranking.below(threshold)


def prune_to(model: Any, budget: Budget, ranking: Ranking, input_shape: Any = None) -> list[Resize]:
    """Return the edits that bring a model within a budget, as few units as it takes.

    Args:
        model: A `StructuralModel`.
        budget: What it may cost.
        ranking: Which units go first.
        input_shape: Shape of one sample without batch, or a list of them, where the model does not state it.

    Raises:
        ValueError: If it cannot be met, or operations and latency depend on a shape that is not known.
    """
    fits, least = _criterion(model, budget, ranking, input_shape)
    if not fits(1.0):
        raise ValueError(
            f"Cannot prune the model to {budget}: with {ranking.minimum} units left on each of the {len(ranking.measured)} axes "
            f"it still costs {least()}. Allow more, or lower `minimum`."
        )
    low, high = 0.0, 1.0
    if fits(low):
        return []
    for _ in range(8 if budget.latency is not None else 30):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return ranking.edits(high)


def _acting(model: Any, axes: Sequence[str] | None) -> list[str]:
    graph = model.structure
    axes = [axes] if isinstance(axes, str) else axes
    if axes is not None and (unknown := [axis for axis in axes if axis not in graph.axes]):
        raise ValueError(f"Cannot prune axes {unknown}: editable axes are {sorted(graph.axes)}.")
    acting = list(graph.axes if axes is None else axes)
    if not acting:
        reasons = "; ".join(f"{axis}: {reason}" for axis, reason in graph.locked.items())
        raise ValueError(f"Cannot prune the model: it has no axis that can be edited ({reasons}).")
    return acting


def _criterion(
    model: Any, budget: Budget, ranking: Ranking, input_shape: Any
) -> tuple[Callable[[float], bool], Callable[[], str]]:
    """Whether the model fits the budget when a share has gone; and what it costs at the least, in words."""
    costs, now = Costs(model, parts_of(model).live.network, input_shape), model.structure.axes
    largest = {
        "flops": (budget.flops, flops(model, input_shape) if budget.flops is not None else 0),
        "parameters": (budget.parameters, model.count_params()),
    }
    limits = {
        name: (given * base if given <= 1 else given) for name, (given, base) in largest.items() if given is not None
    }
    base = _latency(_trial(model), input_shape) if budget.latency is not None else 0.0

    def cost(share: float) -> dict[str, float]:
        changes = {axis: width - now[axis] for axis, width in ranking.widths(share).items()}
        return {name: float(getattr(costs, name)(changes)) for name in limits}

    def fits(share: float) -> bool:
        if any(value > limits[name] for name, value in cost(share).items()):
            return False
        if budget.latency is None:
            return True
        copy = _trial(model)
        copy.apply(ranking.edits(share), preserve=False)
        return _latency(copy, input_shape) <= budget.latency * base

    def least() -> str:
        found = [f"{value:,.0f} {'operations' if name == 'flops' else name}" for name, value in cost(1.0).items()]
        return " and ".join(found) if found else f"more than {budget.latency} of the present time"

    return fits, least


def _trial(model: Any) -> Any:
    """A copy of the network, to be edited and timed; methods of a subclass play no part in that."""
    kind: Any = next(base for base in type(model).__mro__ if is_library_class(base))
    return kind.from_model(keras.Model(*structured_ends(model), name=model.name))


def _latency(model: Any, input_shape: Any) -> float:
    """Seconds of a compiled forward pass of one sample; the median of some."""
    flat = [np.zeros(tensor.shape, tensor.dtype) for tensor in symbolic_inputs(model, input_shape, 1)]
    x = keras.tree.pack_sequence_as(model.input, flat)
    plain = model.to_plain()
    taken = []
    for _ in range(PASSES + 2):
        start = time.perf_counter()
        plain.predict_on_batch(x)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[2:]))
