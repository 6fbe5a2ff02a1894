"""How far a model has been trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainingProgress:
    """How far a model has been trained.

    Attributes:
        step: Gradient steps so far.
        epoch: The epoch that is running.
        skip: How many executions of the train function are still to be left out, after a resume in the middle of an epoch.
        skipped: Whether the last one was left out.
        listeners: Callbacks of the running `fit`, which are told of edits.
    """

    step: int = 0
    epoch: int = 0
    skip: int = 0
    skipped: bool = False
    listeners: Sequence[Any] = field(default_factory=tuple)

    def leaves_out(self) -> bool:
        """Whether the next execution of the train function is to be left out; it counts as left out then."""
        self.skipped = self.skip > 0
        self.skip -= self.skipped
        return self.skipped
