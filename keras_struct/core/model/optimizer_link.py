"""The optimizer of a model: its slots follow edits, and variables get the shapes that it allows for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras_struct.core.backend import current, keras_internals
from keras_struct.core.backend.optimizer_slots import Slot, rebuild, slots_of, without_frozen
from keras_struct.core.model.elasticity import make_elastic
from keras_struct.core.model.live_network import LiveNetwork


class OptimizerLink:
    """The optimizer of a model.

    Attributes:
        slots: Its variables that follow weights.

    Args:
        live: The network of the model.
        replaced: Called after the objects behind variables were replaced.
    """

    def __init__(self, live: LiveNetwork, replaced: Callable[[], None]) -> None:
        self._live, self._replaced = live, replaced
        self.slots: Sequence[Slot] = ()
        self._slots_for: Any = None
        self._static: bool | None = None

    @property
    def optimizer(self) -> Any:
        """The optimizer, or `None` before the model is compiled."""
        return keras_internals.optimizer_of(self._live.model)

    def follow(self) -> None:
        """Find the slots of the model's optimizer, and make variables elastic where the backend can."""
        optimizer = self.optimizer
        if optimizer is not None:
            rebuild(optimizer, self._live.model.trainable_variables)
            current().prepare_optimizer(optimizer)
            self._find_slots(optimizer)
        self._static = optimizer is not None and keras_internals.needs_static_shapes(optimizer)
        self._loosen()

    def follow_surroundings(self) -> None:
        """Let layers that were connected to the model since it was compiled know the widths that they need."""
        if self._static is not None and self._live.has_new_surroundings:
            self._loosen()

    def renew(self) -> None:
        """Let the optimizer forget weights that are no longer trained; its state of the others stays."""
        old = self.optimizer
        if old is None or (new := without_frozen(old, self._live.model.trainable_variables)) is old:
            return
        self._live.model.optimizer = new
        self.follow()
        self._replaced()

    def live_slots(self) -> Sequence[Slot]:
        """Slots of the optimizer as it is now: it may have been built or replaced since `compile`."""
        optimizer = self.optimizer
        if optimizer is None or not optimizer.built:
            return ()
        self._find_slots(optimizer)
        return self.slots

    def _find_slots(self, optimizer: Any) -> None:
        if (trained := keras_internals.trained_by(optimizer)) is not self._slots_for:
            self.slots, self._slots_for = slots_of(optimizer), trained

    def _loosen(self) -> None:
        """Leave open the widths that edits change, where no layer in the model or around it needs to know them."""
        if current().ELASTIC and (replaced := make_elastic(self._live.whole(), self.slots, bool(self._static))):
            current().retire(replaced, ())
            self._replaced()
