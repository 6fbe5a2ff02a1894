"""Several strategies in one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from keras_struct.core.structure.edits import Edit
from keras_struct.policies.policy import State, unpack
from keras_struct.policies.strategy import Strategy


@dataclass(frozen=True, init=False)
class Together(Strategy[Any, State]):
    """Strategies of several kinds in one training: of units, connections, symmetries and blocks.

    Each has its own schedule and remembers what it needs. Where several are due after one step, they act in the order in which
    they are given, each on measurements of what the one before has left.

    Args:
        *strategies: The strategies, two or more.

    Raises:
        TypeError: If one is no strategy.
        ValueError: If there are fewer than two, or two may edit the same.

    Examples:
        >>> strategy = Together(NorthSelect(), Stack())
    """

    strategies: tuple[Strategy[Any, Any], ...]

    def __init__(self, *strategies: Strategy[Any, Any]) -> None:
        for strategy in strategies:
            if not isinstance(strategy, Strategy) or isinstance(strategy, Together):
                raise TypeError(f"Together takes strategies, each by itself. Received: {strategy!r}")
        if len(strategies) < 2:
            raise ValueError(f"Together takes two strategies or more. Received: {len(strategies)}")
        for number, strategy in enumerate(strategies):
            for other in strategies[:number]:
                if _may_edit_the_same(strategy, other):
                    raise ValueError(
                        f"{type(other).__name__} and {type(strategy).__name__} may both edit the same "
                        f"{strategy.works_on.__name__}: let each name what it works on (`axes=`, `layers=`), or "
                        "grow and prune with GrowAndPrune(grow, prune)."
                    )
        object.__setattr__(self, "strategies", strategies)

    @property
    def needs_inputs(self) -> bool:
        """Whether any of them looks at activations."""
        return any(strategy.needs_inputs for strategy in self.strategies)

    @property
    def needs_gradients(self) -> bool:
        """Whether any of them looks at gradients."""
        return any(strategy.needs_gradients for strategy in self.strategies)

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether any of them is due."""
        return any(strategy.due(step, since) for strategy in self.strategies)

    def propose(
        self, step: int, measurements: Mapping[str, Any], state: State, since: int | None = None
    ) -> tuple[Sequence[Edit], State]:
        """Return nothing: the strategies are asked one after the other."""
        return [], state

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Together:
        """Return it from what `get_config` returned."""
        return cls(*(cast("Strategy[Any, Any]", unpack(data)) for data in config["strategies"]))


def _may_edit_the_same(one: Strategy[Any, Any], other: Strategy[Any, Any]) -> bool:
    if not issubclass(one.works_on, other.works_on) and not issubclass(other.works_on, one.works_on):
        return False
    return one.axes is None or other.axes is None or not set(one.axes).isdisjoint(other.axes)
