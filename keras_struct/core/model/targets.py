"""How what a strategy works on is found in a model, and measured."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any

from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.suitability import is_trainable
from keras_struct.core.structure.targets import EditTarget


class NothingToEditError(ValueError):
    """A strategy would have to leave out everything."""


class TargetFinder(ABC):
    """Finds what a strategy works on, leaves out what it cannot work on, and measures the others.

    Args:
        editor: Edits the model.
        strategy: The strategy.
    """

    def __init__(self, editor: StructureEditor, strategy: Any) -> None:
        self.editor, self.strategy = editor, strategy
        self.observation = editor.observation
        self._left_out: dict[str, str] = {}
        self._said: set[str] = set()

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """Names of what can be edited, with a number that says how large each is."""

    @abstractmethod
    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy cannot work on one of them, or `None` if it can."""

    @abstractmethod
    def measure(self, only: Collection[str] | None, limits: Callable[[], Mapping[str, int]]) -> Mapping[str, Any]:
        """Return a measurement of each that the strategy works on.

        Args:
            only: Names of those to measure; all by default.
            limits: Returns the largest width of each axis.
        """

    def locked(self) -> dict[str, str]:
        """Why others cannot be edited."""
        return {}

    def metrics(self) -> dict[str, int]:
        """Numbers that are shown beside the metrics of training."""
        return {}

    def check_axes(self) -> None:
        """Raise a ValueError if the strategy says that it can work on none."""
        return

    def check_probe(self, samples: int, limits: Callable[[], Mapping[str, int]]) -> None:
        """Raise a ValueError unless there are enough samples to measure on.

        Args:
            samples: How many there are.
            limits: Returns the largest width of each axis.
        """
        return

    def acting(self) -> list[str]:
        """Names of what the strategy works on."""
        return [name for name in self._wanted() if name not in self._left_out]

    def begin(self) -> None:
        """Find out what is left out, and warn of it.

        Raises:
            ValueError: If nothing is left.
        """
        wanted = self._wanted()
        self._left_out = self._unsuitable(wanted)
        if wanted and len(self._left_out) == len(wanted):
            raise NothingToEditError(
                f"{type(self.strategy).__name__} has nothing to act on: it would have to leave out {_reasons(self._left_out)}. "
                "Let other layers be trainable or name others, take another strategy, or edit by hand (model.grow, model.prune, "
                "with preserve=False where an edit changes the output)."
            )
        self._say()
        self.check_axes()

    def update(self) -> None:
        """Leave out what has become unsuitable since, and warn of it."""
        self._left_out = self._unsuitable(self._wanted())
        self._say()

    def _wanted(self) -> list[str]:
        wanted = self.strategy.axes
        return [name for name in self.counts() if wanted is None or name in wanted]

    def _unsuitable(self, names: list[str]) -> dict[str, str]:
        reasons = {name: self.why_left_out(name) for name in names}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _say(self) -> None:
        if new := {name: reason for name, reason in self._left_out.items() if name not in self._said}:
            self._said |= set(new)
            warnings.warn(
                f"{type(self.strategy).__name__} leaves out {_reasons(new)}. The others are looked after; this is said once.",
                stacklevel=4,
            )


class LayerFinder(TargetFinder):
    """Finds layers of which something else than units is edited."""

    @abstractmethod
    def layers(self) -> dict[str, Any]:
        """Return the layers that the strategy may work on, by name; each has a `kernel`."""

    def why_left_out(self, name: str) -> str | None:
        """Return why the strategy does not work on a layer, or `None` if it does."""
        layer = self.editor.network.layers[name]
        if name in (self.strategy.axes or ()) or (self.editor.model.trainable and is_trainable(layer, layer.kernel)):
            return None
        return "it is not trainable, and stays as it is unless `layers` names it"

    def chosen(self, only: Collection[str] | None) -> dict[str, Any]:
        """Return the layers that the strategy works on, of those in `only` if that is given."""
        acting = set(self.acting())
        return {n: layer for n, layer in self.layers().items() if n in acting and (only is None or n in only)}


_FINDERS: dict[type[EditTarget], type[TargetFinder]] = {}


def register_target(target: type[EditTarget], finder: type[TargetFinder]) -> None:
    """Let strategies work on something else.

    Args:
        target: What they name as `works_on`.
        finder: Finds it in a model.
    """
    _FINDERS[target] = finder


def finder_of(strategy: Any) -> type[TargetFinder]:
    """Return what finds what a strategy works on.

    Raises:
        ValueError: If it names something that is not registered.
    """
    works_on = strategy.works_on
    found = _FINDERS.get(works_on) if isinstance(works_on, type) else None
    if found is None:
        raise ValueError(
            f"`works_on` of strategy {type(strategy).__name__} must be a class of edit targets, one of "
            f"{', '.join(sorted(target.__name__ for target in _FINDERS))} of keras_struct.structure, or one that was registered "
            f"with register_target. Received: {works_on!r}"
        )
    return found


def _reasons(left_out: Mapping[str, str]) -> str:
    """Names with their reasons; those of the same reason together."""
    together: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        together.setdefault(reason.rstrip(". "), []).append(f"'{name}'")
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in together.items())
