"""What happened to a structure, as data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any


@dataclass(frozen=True)
class StructureEvent:
    """One edit that was carried out.

    Attributes:
        step: Training steps before it.
        axis: Name of the unit axis, or of the layer that was edited.
        before: Units, or connections, or trainable weights of the layer before.
        after: The same afterwards.
        reason: Who requested it, and why.
        parameters: Parameters of the model afterwards.
        seconds: Time that planning and writing took.
        change: Largest absolute change of the model's outputs on the probe, divided by the largest absolute output;
            NaN where there are no inputs to compute them on.
        retraced: Whether the edit made compiled steps be traced again.
        source: For each unit after the edit its index before, or -1; empty for other edits.
        edit: `"Resize"` for units, `"Rewire"` for connections, `"Reconfigure"` for what a layer is.
    """

    step: int
    axis: str
    before: int
    after: int
    reason: str
    parameters: int
    seconds: float
    change: float
    retraced: bool
    source: tuple[int, ...]
    edit: str = "Resize"


class StructureLog(list[StructureEvent]):
    """All events of a model, oldest first."""

    def records(self) -> list[dict[str, Any]]:
        """Return the events as dictionaries: `pandas.DataFrame(model.structure_log.records())`.

        JSON can hold them: a `change` that is not known is `None`.
        """
        return [{**asdict(event), "change": None if isnan(event.change) else event.change} for event in self]

    def to_table(self) -> str:
        """Return the events as text, one line each."""
        lines = [f"{'step':>7}  {'axis':<20} {'from -> to':>13}  {'parameters':>11}  reason"]
        for e in self:
            lines.append(f"{e.step:>7}  {e.axis:<20} {e.before:>5} -> {e.after:<5}  {e.parameters:>11,}  {e.reason}")
        return "\n".join(lines)

    def widths(self, initial: dict[str, int]) -> dict[str, list[tuple[int, int]]]:
        """Return for each axis its width over time as `(step, width)`, starting from `initial`."""
        series = {axis: [(0, width)] for axis, width in initial.items()}
        for event in (event for event in self if event.edit == "Resize"):
            series.setdefault(event.axis, [(0, event.before)]).append((event.step, event.after))
        return series

    def to_json(self) -> str:
        """Return the log as JSON."""
        return json.dumps(self.records())

    @classmethod
    def from_records(cls, records: Iterable[dict[str, Any]]) -> StructureLog:
        """Return a log from what `records` returned."""
        return cls(_event(record) for record in records)


def _event(record: dict[str, Any]) -> StructureEvent:
    change = nan if record["change"] is None else record["change"]
    return StructureEvent(**{**record, "source": tuple(record["source"]), "change": change})
