"""What a layer can do for the library beyond computing, each as a protocol that a layer of one's own can have, too.

At the end are protocols of callbacks.

A layer has a capability when it has the protocol's methods and attributes; nothing is to be inherited or registered. What a
layer lacks is left out or refused with an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from keras_struct.core.structure.behaviours import Behaviour
from keras_struct.core.structure.labels import Shape
from keras_struct.core.structure.rules import AxisRule


@runtime_checkable
class HasUnitRules(Protocol):
    """Says along which axes of its variables units lie: its units can be edited."""

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Return a rule for each axis along which units lie."""


@runtime_checkable
class HasUnitBehaviour(Protocol):
    """Says itself how units pass through it, for layers that rules alone do not describe."""

    def unit_behaviour(self, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> Behaviour:
        """Return what a call does to units, given the shapes of what enters and leaves, without the batch."""


@runtime_checkable
class LimitsUnits(Protocol):
    """Has a largest number of units.

    Attributes:
        max_units: That number, or `None` for no limit.
    """

    max_units: int | None


@runtime_checkable
class LimitsFilters(Protocol):
    """Has a largest number of filters.

    Attributes:
        max_filters: That number, or `None` for no limit.
    """

    max_filters: int | None


@runtime_checkable
class HasLooseAxes(Protocol):
    """Has variables whose shape changes by other edits than those of units."""

    def loose_axes(self) -> Mapping[str, Sequence[int]]:
        """Return the axes of each such variable, by its name."""


@runtime_checkable
class Maskable(Protocol):
    """Has a mask over its kernel: single connections can be removed and added (`Rewire`).

    Attributes:
        kernel: The weights.
        mask: Variable of the shape of `kernel`, bool: which connections there are.
        dormant: What the weights of the others do: `"silent"`, `"training"` or `"kept"`.
    """

    kernel: Any
    mask: Any
    dormant: Any

    def check_mask(self, mask: np.ndarray) -> None:
        """Raise a `ValueError` unless the layer can have these connections."""

    def possible_connections(self) -> np.ndarray:
        """Return which connections there could be, in the shape of the kernel, bool."""

    def follows(self, mask: np.ndarray) -> Mapping[str, Any]:
        """Return attributes that change when the layer has another mask, for which compiled steps must be traced again."""

    def passing_gradients(self) -> AbstractContextManager[None]:
        """Let gradients reach the weights of connections that are not there."""


@runtime_checkable
class TellsActivity(Protocol):
    """Knows when its neurons are active."""

    def threshold_of_activity(self) -> float | None:
        """Return above which value they are; `None` where there is no such value."""


@runtime_checkable
class Reconfigurable(Protocol):
    """Can change what it is (`Reconfigure`), such as the group that it is equivariant to."""

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Check new arguments of the constructor, and return the attributes that change with them."""

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what becomes of the weights, a linear map; an array that stays is the same object."""


@runtime_checkable
class ComputesDifferently(Reconfigurable, Protocol):
    """May compute something else after it is reconfigured.

    Attributes:
        retraced: Whether it does, so that compiled steps must be traced again.
    """

    retraced: bool


@runtime_checkable
class RearrangesChannels(Reconfigurable, Protocol):
    """Puts out its channels in another layout after it is reconfigured; the layers behind it follow."""

    def channel_sources(self, config: Mapping[str, Any]) -> np.ndarray:
        """Return, for each channel of a field afterwards, which one before it is equal to."""


@runtime_checkable
class Symmetric(Reconfigurable, Protocol):
    """Is equivariant to a group that can be changed.

    Attributes:
        group: The group.
        frame: The group whose elements the channels of a field stand for.
    """

    group: Any
    frame: Any


@runtime_checkable
class Watchable(Symmetric, Protocol):
    """Lets somebody see, or replace, the kernel that it computes with.

    Attributes:
        kernel: The weights that it is made of.
    """

    kernel: Any

    def watching(self, watch: Callable[[Any], Any]) -> AbstractContextManager[None]:
        """Pass the expanded kernel through a function while the layer is called."""

    def expanded_kernel(self) -> Any:
        """Return the kernel that it computes with."""


@runtime_checkable
class Choosable(Reconfigurable, Protocol):
    """Is a mixture of operations of which some can be chosen.

    Attributes:
        weighted: Whether nothing has been chosen yet.
        weighting: The layer that makes the weights of the operations, or `None` if they enter as an input.
        choice: The arguments for `reconfigured` that say what was chosen.
    """

    weighting: Any

    @property
    def weighted(self) -> bool: ...  # noqa: D102

    @property
    def choice(self) -> Mapping[str, Any]: ...  # noqa: D102

    def decision(self, genotype: Any, genes: Callable[[], Any]) -> dict[str, Any]:
        """Return the arguments that mean a choice: that of the genotype, or, without one, that of the genes."""


@runtime_checkable
class Rigid(HasUnitRules, Protocol):
    """Has unit rules, and says which of its widths it must know when it is traced.

    Attributes:
        rigid: The reason why, or `None` if any width will do.
    """

    rigid: Any


@runtime_checkable
class MixesUnits(Protocol):
    """Computes something of all units together, such as their mean, so that no edit of them can keep the function.

    Attributes:
        mixes: What it does with them, to follow "layer 'name'" in a message: `"normalises over its units"`. `None` if it does
            not.
    """

    mixes: str | None


@runtime_checkable
class ExportsPlain(Protocol):
    """Can be written in stock Keras layers (`to_plain`)."""

    def plain_layer(self) -> Any:
        """Return a stock layer, or a model of stock layers, that computes the same with the same weights."""


@runtime_checkable
class CountsOperations(Protocol):
    """Counts its own floating-point operations."""

    def count_flops(self, call: Any) -> int:
        """Return how many a call takes, given a `keras_struct.measure.statistics.flops.LayerCall`."""


@runtime_checkable
class ObservesStructure(Protocol):
    """A callback that is told of every edit."""

    def on_structure_change(self, event: Any, logs: Any = None) -> None:
        """Look at a `StructureEvent`, and at the logs of the batch."""


@runtime_checkable
class ResumesByEpoch(Protocol):
    """A callback that goes on in the middle of an epoch, so that data must come in an order that is known.

    Attributes:
        resumes_by_epoch: That it does.
        seed: Seed of the order.
    """

    resumes_by_epoch: bool
    seed: Any
