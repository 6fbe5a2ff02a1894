"""Optimizers and models beside a model's own that hold its variables: they follow its edits."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from keras_struct.core.backend import current, holders, keras_internals
from keras_struct.core.backend.optimizer_slots import Slot, slots_of
from keras_struct.core.surgery.plan import Plan
from keras_struct.core.surgery.trace import Network


class OtherHolders:
    """Who else trains or runs the variables of a network.

    Args:
        model: The model that the network is read from.
        network: The network.
    """

    def __init__(self, model: Any, network: Network) -> None:
        self.model = model
        self._variables = frozenset(map(id, network.variables()))
        self._slots: weakref.WeakKeyDictionary[Any, tuple[Any, list[Slot] | None]] = weakref.WeakKeyDictionary()

    def share(self, variables: frozenset[int] | set[int]) -> bool:
        """Whether any of the variables with the given `id`s belongs to the network."""
        return not self._variables.isdisjoint(variables)

    def before_edit(self) -> None:
        """Bring the values that other models hold while they are trained back into the variables."""
        for model in holders.running_models():
            current().before_edit(model)

    def slots(self) -> list[Slot]:
        """Slots of other optimizers, as far as they can follow an edit."""
        found = [slot for other in self._optimizers() for slot in self._slots_of(other) or ()]
        return list({id(slot.variable): slot for slot in found}.values())

    def check(self, plan: Plan) -> None:
        """Raise if another optimizer keeps a state that cannot follow an edit, of those that `slots` was asked of.

        Raises:
            ValueError: If there is one that is still in use.
        """
        if all(slots is not None for _, slots in self._slots.values()):
            return
        changed = {id(variable) for variable, old, value in plan.writes if old.shape != value.shape}
        if self._stuck(changed):
            gc.collect()  # it may be that of a model that is not used any more
        if not (stuck := self._stuck(changed)):
            return
        raise ValueError(
            f"Cannot change the structure: another optimizer, {stuck[0]}, was built for some of "
            "the weights, and its state does not have their shape, so that it cannot follow. Delete the model that it trains, or "
            "compile that with another optimizer, for example Adam, SGD with momentum, RMSprop, Lion or Muon."
        )

    def _stuck(self, variables: frozenset[int] | set[int]) -> list[str]:
        return [
            f"{type(other).__name__} '{other.name}'"
            for other in self._optimizers(variables)
            if self._slots_of(other) is None
        ]

    def variables_replaced(self) -> None:
        """Tell others that the objects behind variables were replaced, or what layers do with them."""
        for other in holders.optimizers_of(self._variables):
            keras_internals.rekey_optimizer(other)
        for model in holders.models_of(self._variables):
            if model is not self.model:
                keras_internals.forget_compiled_functions(model)
                current().after_edit(model, ())

    def _optimizers(self, variables: frozenset[int] | set[int] | None = None) -> list[Any]:
        own = keras_internals.optimizer_chain(keras_internals.optimizer_of(self.model))
        found = holders.optimizers_of(self._variables if variables is None else variables)
        return [other for other in found if not any(other is held for held in own)]

    def _slots_of(self, optimizer: Any) -> list[Slot] | None:
        """Slots of an optimizer; `None` if its state cannot follow an edit."""
        trained, found = self._slots.get(optimizer, (None, None))
        if trained is not (held := keras_internals.trained_by(optimizer)):
            try:
                found = slots_of(optimizer)
            except ValueError:  # it says why, to who compiles a structural model with it
                found = None
            self._slots[optimizer] = (held, found)
        return found
