"""Batches of text for searches that train weights and architecture on different samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_struct.data.text import TextBatches


class PairedText(TextBatches):
    """Each step a piece of a text A, as `datasets.TextBatches` has it, and one of a text B: for `search.Darts`.

    Args:
        text: Numbers of the words of A, one axis.
        other: Those of B; it begins again when it has ended.
        batch_size: Strands of each.
        length: As `datasets.TextBatches`; so are the others.
        vary: Whether lengths vary.
        seed: Same seed, same pieces.

    Raises:
        ValueError: If a text is too short for a piece in each strand.
    """

    def __init__(
        self, text: Any, other: Any, batch_size: int, length: int = 35, vary: bool = False, seed: int = 0
    ) -> None:
        super().__init__(text, batch_size, length, vary, seed)
        self._others = self.strands(other, batch_size, length + 20 if vary else length)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of a step, those of A in front of those of B."""
        x, y = super().__getitem__(index)
        first = int(self.lengths()[:index].sum()) % (self._others.shape[1] - x.shape[1])
        piece = self._others[:, first : first + x.shape[1] + 1]
        return np.concatenate([x, piece[:, :-1]]), np.concatenate([y, piece[:, 1:]])
