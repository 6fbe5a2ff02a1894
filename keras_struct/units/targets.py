"""Unit axes as what strategies work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.suitability import why_kept, why_not_learning, why_unmeasurable
from keras_struct.core.model.targets import TargetFinder, register_target
from keras_struct.core.structure.targets import Units


class UnitFinder(TargetFinder):
    """Unit axes of a model."""

    def __init__(self, editor: Any, strategy: Any) -> None:
        super().__init__(editor, strategy)
        self._lasting: dict[str, str | None] = {}

    def counts(self) -> dict[str, int]:
        """Return the width of each editable axis."""
        return dict(self.editor.graph.axes)

    def locked(self) -> dict[str, str]:
        """Why other axes are not editable."""
        return dict(self.editor.graph.locked)

    def check_axes(self) -> None:
        """Let the strategy say whether it can work on any of the axes.

        Raises:
            ValueError: If it cannot.
        """
        self.strategy.check_axes(self.observation.measure(self.acting(), {}, self.editor.initial_widths))

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy cannot work on an axis, or `None` if it can."""
        network, model, strategy = self.editor.network, self.editor.model, self.strategy
        mixes = network.graph.units[name].mixes
        if strategy.grows and mixes is not None:
            return f"{mixes}, so that no new units keep the function"
        if strategy.grows and (why := why_not_learning(network, model, name)) is not None:
            return why
        named = strategy.axes is not None and name in strategy.axes
        may_keep = strategy.prunes and (strategy.grows or not named)
        if may_keep and (why := why_kept(network, model, name)) is not None:
            return why
        if name not in self._lasting:  # what does not change while the model trains
            self._lasting[name] = why_unmeasurable(self.observation.probe, name, strategy.requirements())
        return self._lasting[name]

    def check_probe(self, samples: int, limits: Callable[[], Mapping[str, int]]) -> None:
        """Raise unless there are enough samples for every axis that the strategy may grow.

        Raises:
            ValueError: If there are not.
        """
        largest = limits()
        for axis in self.acting() if self.strategy.needs_inputs else ():
            limit = largest.get(axis, self.editor.graph.axes[axis])
            if samples <= (needed := self.observation.probe.rows_needed(axis, limit)):
                raise ValueError(
                    f"The probe has {samples} samples, too few to measure axis '{axis}' up to its limit of {limit} units: pass "
                    f"more than {needed}, or a smaller `max_units`."
                )

    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each axis."""
        largest, widths = limits(), self.editor.graph.axes
        axes = [
            axis
            for axis in self.acting()
            if (self.strategy.includes_full_axes or widths[axis] < largest.get(axis, 2**31))
            and (only is None or axis in only)
        ]
        return self.observation.measure(axes, largest, self.editor.initial_widths, self.strategy.residual)


register_target(Units, UnitFinder)
