"""What strategies on blocks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from keras_struct.core.structure.edits import Edit
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.core.structure.targets import EditTarget
from keras_struct.depth.block import Block, repeated_blocks
from keras_struct.depth.measurements import BlockMeasurement
from keras_struct.policies.schedules import Schedule
from keras_struct.policies.strategy import Remembered, Strategy, steps_between


class Blocks(EditTarget):
    """Blocks of layers, as what a strategy works on."""


class BlockStrategy(Strategy[BlockMeasurement, Remembered]):
    """Base of strategies on blocks: a schedule says when, `edits` says what. Subclasses are frozen dataclasses.

    Attributes:
        schedule: When to look; a field or a property.

    Examples:
        Copy the last block at some steps:

            @dataclass(frozen=True)
            class CopyLast(BlockStrategy):
                schedule: Schedule

                def edits(self, blocks, step):
                    last = list(blocks.values())[-1]
                    return [keras_struct.duplicate(last.block, taken=last.names)]
    """

    works_on: ClassVar[type[EditTarget]] = Blocks

    if TYPE_CHECKING:

        @property
        def schedule(self) -> Schedule:
            """When to look."""

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise TypeError(
                f"`schedule` of {type(self).__name__} must be a schedule such as AtSteps((1000,)). Received: {self.schedule!r}"
            )

    @abstractmethod
    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edits to make now.

        Args:
            blocks: A measurement of each block with weights, in the order of the network.
            step: Gradient steps so far.
        """

    def check(self, targets: Mapping[str, int], locked: Mapping[str, str]) -> None:
        """Raise unless there is a block with weights.

        Raises:
            ValueError: If there is none.
        """
        if not targets:
            raise ValueError(
                f"{type(self).__name__} works on blocks, and the model has none with weights that keeps the shape of what enters "
                "it. Insert one: model.insert_block([...], after=...). A Sequential model has none: "
                "StructuralModel.from_model(model) makes a Functional model of it, which has."
            )

    def due(self, step: int, since: int | None = None) -> bool:
        """Whether the schedule says so, for `step` or a step after `since`."""
        return any(self.schedule.due(s) for s in steps_between(step, since))

    def propose(
        self, step: int, measurements: Mapping[str, BlockMeasurement], state: Remembered, since: int | None = None
    ) -> tuple[list[Edit], Remembered]:
        """Return what `edits` says; nothing is remembered."""
        return list(self.edits(measurements, step)), state


def longest_row(blocks: Mapping[str, BlockMeasurement]) -> list[Block]:
    """Return the longest row of blocks of one kind that stand behind each other.

    Raises:
        MeasurementError: If there is no block (any more), which is said once while training goes on.
    """
    try:
        return repeated_blocks([measured.block for measured in blocks.values()])
    except ValueError as error:
        raise MeasurementError(str(error)) from error


def taken_names(blocks: Mapping[str, BlockMeasurement]) -> frozenset[str]:
    """Return the names that new layers must not have."""
    return frozenset(name for measured in blocks.values() for name in measured.names)
