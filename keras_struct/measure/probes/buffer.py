"""Recent inputs of training, kept for measuring."""

from __future__ import annotations

from collections import deque
from typing import Any

import keras

from keras_struct.core.backend import current


class Pieces(tuple[Any, ...]):
    """Inputs in several parts, each as one call of the model takes them."""

    __slots__ = ()

    def joined(self) -> Any:
        """All of them as one."""
        return self[0] if len(self) == 1 else keras.tree.map_structure(lambda *parts: _join(parts), *self)


class InputBuffer:
    """First-in, first-out store of the inputs of recent training batches.

    It holds inputs, not activations, so that measurements always see the current weights. Batches are kept as they are,
    without copying; they are only joined when something is measured.

    Args:
        samples: How many samples to keep.

    Raises:
        ValueError: If `samples` is not positive.
    """

    def __init__(self, samples: int) -> None:
        if samples < 1:
            raise ValueError(f"A buffer of inputs must keep at least one sample. Received: samples={samples}")
        self.samples = int(samples)
        self._batches: deque[Any] = deque()
        self._batches_to_keep = 1

    def add(self, inputs: Any) -> None:
        """Add the inputs of one batch: an array `(batch, ...)` or a structure of them."""
        if not self._batches:
            self._batches_to_keep = self.samples // max(1, samples_of(inputs)) + 2
        self._batches.appendleft(inputs)
        if len(self._batches) > self._batches_to_keep:
            self._trim()

    def clear(self) -> None:
        """Forget everything."""
        self._batches.clear()

    @property
    def full(self) -> bool:
        """Whether it holds as many samples as it was made for."""
        return sum(map(samples_of, self._batches)) >= self.samples

    def inputs(self) -> Any:
        """Return the newest samples, newest batch first, at most `samples`; `None` when empty."""
        if not self._batches:
            return None
        joined = Pieces(self.pieces() or ()).joined()
        self._batches = deque([joined])
        return joined

    def pieces(self) -> Pieces | None:
        """Return the newest samples as they are kept, newest batch first, at most `samples` together; `None` when empty."""
        self._trim()
        kept, left = [], self.samples
        for batch in self._batches:
            size = min(samples_of(batch), left)
            kept.append(first_samples(batch, size))
            left -= size
        return Pieces(kept) if kept else None

    def _trim(self) -> None:
        """Forget batches that are older than the newest `samples` samples."""
        held = 0
        for place, batch in enumerate(self._batches):
            held += samples_of(batch)
            if held >= self.samples:
                self._batches = deque(list(self._batches)[: place + 1])
                break
        self._batches_to_keep = max(self._batches_to_keep, len(self._batches) + 1)


def first_samples(inputs: Any, count: int) -> Any:
    """The first samples of a structure of arrays."""
    return inputs if samples_of(inputs) <= count else samples_between(inputs, 0, count)


def samples_between(inputs: Any, start: int, end: int) -> Any:
    """Some samples of a structure of arrays, sparse and ragged ones among them."""
    return keras.tree.map_structure(lambda part: current().samples_between(part, start, end), inputs)


def samples_of(inputs: Any) -> int:
    """How many samples a structure of arrays holds."""
    return int((inputs if hasattr(inputs, "shape") else keras.tree.flatten(inputs)[0]).shape[0])


def _join(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else keras.ops.concatenate([keras.ops.convert_to_tensor(p) for p in parts])
