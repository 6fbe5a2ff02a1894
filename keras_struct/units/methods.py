"""Edits of a model's units by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from keras_struct.core.model.methods import model_methods
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure import edits
from keras_struct.core.structure.events import StructureEvent
from keras_struct.core.surgery.resizing import check_axis
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.policies.initializer import Initializer
from keras_struct.policies.policy import Policy
from keras_struct.policies.selector import Selector
from keras_struct.units.budget import Budget, Ranking, Scope, prune_by, prune_to
from keras_struct.units.initializers.random import RandomFanIn
from keras_struct.units.selectors.norm import SmallestNorm


@model_methods
class UnitEdits:
    """What a `StructuralModel` can do with units."""

    structure: Any
    apply: Any

    def measure(self, axis: str, data: Any = None) -> AxisMeasurement:
        """Return what a trigger, an initializer or a selector gets to see of an axis.

        Args:
            axis: A key of `model.structure.axes`.
            data: What to measure on: inputs, or inputs and targets `(x, y)`, or these and sample weights. By default the probe,
                or what recent training has kept.

        Raises:
            ValueError: If the axis is unknown or fixed; when a part is requested, if there are no inputs or targets for it.
        """
        check_axis(self.structure, axis)
        parts = parts_of(self)
        with parts.observation.looking_at(data):
            return parts.runner.measured(axis)

    def grow(
        self,
        axis: str,
        count: int = 1,
        initializer: Any = None,
        seed: int | None = None,
        data: Any = None,
        preserve: bool = True,
    ) -> StructureEvent | None:
        """Add units to an axis, without changing what the model computes unless the initializer means to.

        Args:
            axis: A key of `model.structure.axes`.
            count: How many units to add.
            initializer: Gives the new weights; by default random incoming weights of the norm that the existing units
                have, and outgoing weights of zero.
            seed: Seed of the new weights; by default a new one for each edit.
            data: What the initializer looks at, as for `measure`.
            preserve: Refuse an axis whose units a normalisation or an activation mixes, where the output changes whatever the
                new units are.

        Returns:
            What was logged; `None` if the initializer can make no unit, which it warns about. A warning says, too, when layers
            around the axis are not trainable, so that new units will not learn.

        Raises:
            ValueError: If the axis is unknown or fixed, or would pass its limit.
            TypeError: If `initializer` is no initializer of units.
        """
        check_axis(self.structure, axis)
        parts = parts_of(self)
        initializer = RandomFanIn() if initializer is None else initializer
        _check(initializer, Initializer, "`initializer` must be an initializer of units", "initializers.RandomFanIn")
        edits.check_count(axis, count)
        rng = np.random.default_rng(len(parts.editor.log) if seed is None else seed)
        with parts.observation.looking_at(data):
            edit = initializer.propose(parts.runner.measured(axis), int(count), rng)
            return None if edit is None else self.apply(edit, preserve=preserve)

    @overload
    def prune(
        self,
        axis: str,
        units: Sequence[int] | None = None,
        count: int | None = None,
        selector: Any = None,
        *,
        fraction: float | None = None,
        threshold: float | None = None,
        minimum: int = 1,
        multiple: int = 1,
        data: Any = None,
        preserve: bool = True,
    ) -> StructureEvent: ...

    @overload
    def prune(
        self,
        *,
        selector: Any = None,
        fraction: float | None = None,
        threshold: float | None = None,
        budget: Budget | None = None,
        scope: Scope = "global",
        axes: Sequence[str] | None = None,
        minimum: int = 1,
        multiple: int = 1,
        data: Any = None,
        input_shape: Any = None,
    ) -> list[StructureEvent]: ...

    def prune(
        self,
        axis=None,
        units=None,
        count=None,
        selector=None,
        *,
        fraction=None,
        threshold=None,
        budget=None,
        scope="global",
        axes=None,
        minimum=1,
        multiple=1,
        data=None,
        input_shape=None,
        preserve=True,
    ):
        """Remove units from an axis, or from the whole model.

        Give exactly one of `units`, `count`, `fraction`, `threshold` and `budget`. The first two need an `axis`, a budget is for
        the model, and the others are for either: without an axis all are pruned at once.

        Args:
            axis: A key of `model.structure.axes`.
            units: Which units of the axis.
            count: How many units of the axis; which ones the `selector` says.
            selector: Says what units are worth; those worth least go. By default the product of incoming and outgoing norm.
            fraction: Which share of the units, between 0 and 1.
            threshold: Units whose saliency is below this multiple of the mean over their axis.
            budget: What the model may cost; as few units go as it takes.
            scope: Without an axis: `"global"` ranks the units of all axes together, saliencies divided by their mean over the
                axis; `"local"` takes the same share of each axis.
            axes: Without an axis: names of the axes to prune; all editable ones by default, also those over which a
                normalisation mixes units.
            minimum: How many units each axis keeps at least.
            multiple: Widths that a share, threshold or budget leads to are rounded up to multiples of this, which some hardware
                computes faster.
            data: What the selector looks at: inputs, or inputs and targets `(x, y)`, or these and sample weights. By default the
                probe, or what recent training has kept.
            input_shape: For a budget of `flops` or `latency`, where the model does not state the size of its inputs: shape of one
                sample, such as `(64, 64, 3)`, or a list of shapes.
            preserve: With an axis: refuse one whose units a normalisation or an activation mixes, so that what remains computes
                something else. Without, such axes are pruned, too.

        Returns:
            What was logged; without an axis an event for each one that was pruned. `None` if no unit of the axis is below the
            threshold.

        Raises:
            ValueError: If the axis or a unit is unknown, fewer units than `minimum` would be left, the selector lacks data, or
                the budget cannot be met; the model is as it was.
            TypeError: If the selector is not one of units, or the budget no `Budget`.
        """
        selector = SmallestNorm() if selector is None else selector
        if isinstance(selector, Policy) and selector.used_by:
            raise TypeError(f"{selector!r} chooses no units: use it with {selector.used_by}.")
        _check(selector, Selector, "`selector` must be a selector", "selectors.Taylor")
        if input_shape is not None and budget is None:
            raise ValueError(f"`input_shape` is for a budget, and none is given. Received: input_shape={input_shape!r}")
        if budget is not None and not isinstance(budget, Budget):
            raise TypeError(f"`budget` must be a Budget, such as Budget(flops=0.5). Received: {budget!r}")
        by_axis, either = {"units": units, "count": count}, {"fraction": fraction, "threshold": threshold}
        given = {k: v for k, v in {**by_axis, **either, "budget": budget}.items() if v is not None}
        if len(given) != 1:
            raise ValueError(
                f"Pass exactly one of `units`, `count`, `fraction`, `threshold`, `budget`. Received: {given}"
            )
        if (axis is None and set(given) <= set(by_axis)) or (axis is not None and budget is not None):
            raise ValueError(
                f"`units` and `count` need an axis, and a budget is for the model. Received: axis={axis!r}, {given}"
            )
        if axis is not None:
            check_axis(self.structure, axis)
            axes = [axis]
        parts = parts_of(self)
        with parts.observation.looking_at(data):
            if units is not None or count is not None:
                return self.apply(_chosen(self, axis, units, count, selector, minimum), preserve=preserve)
            ranking = Ranking(self, selector, scope, axes, minimum, multiple)
            chosen = (
                prune_by(ranking, fraction, threshold)
                if budget is None
                else prune_to(self, budget, ranking, input_shape)
            )
            found = parts.editor.apply(chosen, preserve=preserve and axis is not None, reason=type(selector).__name__)
        return found if axis is None else next(iter(found), None)

    def split(self, axis: str, units: Sequence[int] | int, preserve: bool = True) -> StructureEvent:
        """Put a copy of each of `units` behind the others; both share the outgoing weights, so the function is kept.

        Args:
            axis: A key of `model.structure.axes`.
            units: Which units of the axis.
            preserve: Refuse an axis whose units a normalisation or an activation mixes, so that the output changes.

        Raises:
            ValueError: If the axis or a unit is unknown, or the axis is fixed or would pass its limit.
        """
        check_axis(self.structure, axis)
        return self.apply(edits.split(axis, self.structure.axes[axis], units), preserve=preserve)


def _check(policy: Any, kind: type, what: str, usual: str) -> None:
    """Raise a TypeError unless a policy that was passed is of its kind."""
    if not isinstance(policy, kind):
        hint = (
            f"{policy.__name__}()"
            if isinstance(policy, type) and issubclass(policy, kind)
            else f"keras_struct.{usual}()"
        )
        raise TypeError(f"{what}, such as {hint}. Received: {policy!r}")


def _chosen(model: Any, axis: str, units: Any, count: Any, selector: Selector, minimum: int) -> Any:
    """The edit that removes units of one axis, those named or those that a selector says."""
    width = model.structure.axes[axis]
    by_hand = units is not None
    edit = (
        edits.prune(axis, width, units) if by_hand else selector.propose(parts_of(model).runner.measured(axis), count)
    )
    if len(edit.source) < minimum:
        raise ValueError(f"Cannot prune axis '{axis}' to {len(edit.source)} units: `minimum` is {minimum}.")
    return edit
