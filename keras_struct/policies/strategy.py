"""What every strategy is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from keras_struct.core.structure.edits import Edit
from keras_struct.core.structure.targets import EditTarget, Units
from keras_struct.policies.policy import Policy, State, check_state

Measured = TypeVar("Measured")
"""What it sees: `AxisMeasurement`, `ConnectionMeasurement` or `SymmetryMeasurement`."""
Remembered = TypeVar("Remembered", bound=Mapping[str, object])
"""What it remembers: a `State`, or a `TypedDict` that says what is in it."""


class Strategy(Policy, Generic[Measured, Remembered]):
    """Base of strategies: when, where, how many and how to edit. Subclasses are frozen dataclasses.

    Its parameters are what it sees and what it remembers, such as `Strategy[AxisMeasurement, State]`.

    Attributes:
        works_on: What is edited: `Units`, `Connections`, `ActiveConnections`, `Edges`, `Symmetries`, or a target of one's own.
        grows: Whether it adds units. Axes whose new ones would change the function, or never learn, are left out.
        prunes: Whether it takes something away. Layers that are not trainable stay as they are unless `axes` names them.
        needs_inputs: Whether inputs must be kept for measuring.
        needs_gradients: Whether the last batch must be kept, with its targets, for gradients of the loss.
        includes_full_axes: Whether it looks at axes that are at their limit.
        residual: Whether residual connections stay on while activations are measured.
        axes: Names of what it works on, or `None` for all.
        samples: How many inputs are kept for measuring, or `None` for as many as are needed.
    """

    works_on: ClassVar[type[EditTarget]] = Units
    grows: ClassVar[bool] = True
    prunes: ClassVar[bool] = True
    includes_full_axes: ClassVar[bool] = True

    if TYPE_CHECKING:  # a subclass has attributes, fields or properties of these names

        @property
        def needs_inputs(self) -> bool:
            """Whether inputs must be kept for measuring."""

        @property
        def needs_gradients(self) -> bool:
            """Whether the last batch must be kept, with its targets, for gradients of the loss."""

        @property
        def residual(self) -> bool:
            """Whether residual connections stay on while activations are measured."""

        @property
        def samples(self) -> int | None:
            """How many inputs are kept for measuring, or `None` for as many as are needed."""

        @property
        def axes(self) -> tuple[str, ...] | None:
            """Names of what it works on, or `None` for all."""

    else:
        needs_inputs, needs_gradients, residual, samples, axes = False, False, True, None, None

    def requirements(self) -> frozenset[str]:
        """What is asked of a measurement of units; axes that do not have it are left out.

        Returns:
            Some of `"activations"`, and `"gradients"`, those of the loss by weights of units that do not exist.
        """
        return frozenset({"activations"} if self.needs_inputs else ())

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is something to edit.

        Args:
            targets: Names of what can be edited, with a number that says how large each is.
            locked: Why others cannot.
        """
        return

    def check_axes(self, measurements: Mapping[str, Measured]) -> None:
        """Raise a ValueError with the reason if it can work on none of the axes; asked before training, without inputs."""
        return

    def limits(self, initial_widths: Mapping[str, int]) -> dict[str, int]:
        """Largest width of each axis; none by default."""
        return {}

    @abstractmethod
    def due(self, step: int, since: int | None = None) -> bool:
        """Whether to look after `step` gradient steps, or at one after `since`.

        Args:
            step: Gradient steps so far.
            since: Step after which it was asked before; `step - 1` by default, less when an execution makes many steps.
        """

    def init(self, measurements: Mapping[str, Measured]) -> Remembered:
        """State to start from, of numbers, strings, lists and dictionaries; most remember nothing."""
        return cast("Remembered", {})

    @abstractmethod
    def propose(
        self, step: int, measurements: Mapping[str, Measured], state: Remembered, since: int | None = None
    ) -> tuple[Sequence[Edit], Remembered]:
        """Return the edits to make now, and the new state.

        Args:
            step: Gradient steps so far.
            measurements: A measurement of each, all taken before any of the edits.
            state: What `init` or the last `propose` returned.
            since: Step after which it was asked before.
        """

    def settle(self, measurements: Mapping[str, Measured], state: Remembered) -> Remembered:
        """Return the state after edits, given measurements of what changed; by default it stays."""
        return state

    def cautions(self, measurements: Mapping[str, Measured], state: Remembered) -> dict[str, str]:
        """What is to be said of the state to start from, by the name of the axis."""
        return {}

    def idle(self, measurements: Mapping[str, Measured], state: Remembered) -> dict[str, str]:
        """Why it cannot act, and what to change, by the name of each axis of which that is known."""
        return {}


def steps_between(step: int, since: int | None) -> range:
    """Steps that an execution made since the strategy was asked before."""
    return range(step if since is None else since + 1, step + 1)


def failed(strategy: Policy, error: Exception, axis: str | None = None) -> str:
    """What to say of a measurement that failed."""
    what = "the structure" if axis is None else f"axis '{axis}'"
    return (
        f"{type(strategy).__name__} could not measure {what}, which stays as it is for now: {error} Training goes on, and it "
        "looks again when it is due; this is said once."
    )


def checked_proposal(strategy: Policy, answer: object, first: bool) -> tuple[list[Edit], State]:
    """Return what `propose` returned, if that is edits and a state.

    Args:
        strategy: The strategy.
        answer: What it returned.
        first: Whether to look into the state.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], list | tuple):
        raise TypeError(
            f"`propose` of strategy {type(strategy).__name__} must return a list of edits and its new state: `return [], state`. "
            f"Received: {answer!r}"
        )
    if first:
        check_state(strategy, answer[1])
    return list(answer[0]), answer[1]
