"""Prune a whole model until it costs no more than it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, final

import keras
import numpy as np

from keras_struct.models.costs import Costs
from keras_struct.statistics.flops import flops
from keras_struct.structure.edits import Resize

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


def prune_to(
    model: Any,
    budget: Budget,
    selector: Any,
    scope: Scope = "global",
    axes: Sequence[str] | None = None,
    minimum: int = 1,
    multiple: int = 1,
) -> list[Resize]:
    """Return the edits that bring a model within a budget, as few units as it takes; see `StructuralModel.prune`."""
    if scope not in ("global", "local"):
        raise ValueError(f"`scope` must be 'global' or 'local'. Received: scope={scope!r}")
    if minimum < 1 or multiple < 1:
        raise ValueError(
            f"`minimum` and `multiple` must be at least 1. Received: minimum={minimum}, multiple={multiple}"
        )
    measured = {axis: model.measure(axis) for axis in _acting(model, axes)}
    widths = _widths_by(
        scope, {a: (m.units, selector.scores(m) if scope == "global" else None) for a, m in measured.items()}
    )
    rounded = partial(_rounded, start={a: m.units for a, m in measured.items()}, minimum=minimum, multiple=multiple)

    def edits(share: float) -> list[Resize]:
        wanted = rounded(widths(share))
        return [selector.propose(m, m.units - wanted[a]) for a, m in measured.items() if wanted[a] < m.units]

    fits, least = _criterion(model, budget, lambda share: rounded(widths(share)), edits)
    if not fits(1.0):
        raise ValueError(
            f"Cannot prune the model to {budget}: with {minimum} units left on each of the {len(measured)} axes it still "
            f"costs {least()}. Allow more, or lower `minimum`."
        )
    low, high = 0.0, 1.0
    if fits(low):
        return []
    for _ in range(8 if budget.latency is not None else 30):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return edits(high)


def _acting(model: Any, axes: Sequence[str] | None) -> list[str]:
    graph = model.structure
    if axes is not None and (unknown := [axis for axis in axes if axis not in graph.axes]):
        raise ValueError(f"Cannot prune axes {unknown}: editable axes are {sorted(graph.axes)}.")
    acting = list(graph.axes if axes is None else axes)
    if not acting:
        reasons = "; ".join(f"{axis}: {reason}" for axis, reason in graph.locked.items())
        raise ValueError(f"Cannot prune the model: it has no axis that can be edited ({reasons}).")
    return acting


def _widths_by(scope: Scope, facts: Mapping[str, tuple[int, Any]]) -> Callable[[float], dict[str, float]]:
    """How wide each axis is when a share of the units, or of those of each axis, has gone."""
    if scope == "local":
        return lambda share: {axis: units * (1.0 - share) for axis, (units, _) in facts.items()}
    relative = {}
    for axis, (_, scores) in facts.items():
        worth = scores - min(0.0, float(scores.min()))
        mean = float(worth.mean())
        relative[axis] = worth / mean if mean > 0 else np.ones_like(worth)
    everything = np.sort(np.concatenate(list(relative.values())))

    def widths(share: float) -> dict[str, float]:
        gone = round(share * len(everything))
        threshold = everything[gone - 1] if gone else -np.inf
        return {axis: float((worth > threshold).sum()) for axis, worth in relative.items()}

    return widths


def _rounded(widths: Mapping[str, float], start: Mapping[str, int], minimum: int, multiple: int) -> dict[str, int]:
    """Whole widths: the next higher multiple, no fewer than the minimum and no more than there are."""
    found = {axis: multiple * int(np.ceil(round(width, 9) / multiple)) for axis, width in widths.items()}
    return {axis: min(start[axis], max(width, minimum)) for axis, width in found.items()}


def _criterion(
    model: Any, budget: Budget, widths: Callable[[float], dict[str, int]], edits: Callable[[float], list[Resize]]
) -> tuple[Callable[[float], bool], Callable[[], str]]:
    """Whether the model fits the budget when a share has gone; and what it costs at the least, in words."""
    costs, now = Costs(model, model._structural.network), model.structure.axes
    largest = {
        "flops": (budget.flops, flops(model) if budget.flops is not None else 0),
        "parameters": (budget.parameters, model.count_params()),
    }
    limits = {
        name: (given * base if given <= 1 else given) for name, (given, base) in largest.items() if given is not None
    }
    base = _latency(model) if budget.latency is not None else 0.0

    def cost(share: float) -> dict[str, float]:
        changes = {axis: width - now[axis] for axis, width in widths(share).items()}
        return {name: float(getattr(costs, name)(changes)) for name in limits}

    def fits(share: float) -> bool:
        if any(value > limits[name] for name, value in cost(share).items()):
            return False
        if budget.latency is None:
            return True
        copy = type(model).from_model(model)
        copy.apply(edits(share), preserve=False)
        return _latency(copy) <= budget.latency * base

    def least() -> str:
        found = [f"{value:,.0f} {'operations' if name == 'flops' else name}" for name, value in cost(1.0).items()]
        return " and ".join(found) if found else f"more than {budget.latency} of the present time"

    return fits, least


def _latency(model: Any) -> float:
    """Seconds of a compiled forward pass of one sample; the median of some."""
    x = keras.tree.map_structure(
        lambda tensor: np.zeros((1, *(extent or 32 for extent in tensor.shape[1:])), tensor.dtype), model.input
    )
    plain = model.to_plain()
    taken = []
    for _ in range(PASSES + 2):
        start = time.perf_counter()
        plain.predict_on_batch(x)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[2:]))
