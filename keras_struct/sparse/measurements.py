"""What policies see of the connections of a masked layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import numpy as np

from keras_struct.core.structure.arrays import Bools, Floats
from keras_struct.measure.measurements.gradients import no_batch
from keras_struct.sparse.coactivation import Coactivation


class CountsCoactivation(Protocol):
    """Counts in how many samples both ends of connections are active."""

    def __call__(self, threshold: float | None = None) -> Coactivation:
        """Return the counts, in the shape of the kernel.

        Args:
            threshold: Above which value an end is active whose activation has no clear zero.
        """


def no_activity(threshold: float | None = None) -> NoReturn:
    """Stand for what counts activity where there are no inputs.

    Raises:
        ValueError: With what to do about it.
    """
    raise ValueError(
        "Activity of neurons is measured on inputs, and there are none: pass `probe=x` to compile, or train a few steps first."
    )


@dataclass(frozen=True, eq=False)
class ConnectionMeasurement:
    """The connections of one masked layer. Gradients are computed when they are requested.

    Attributes:
        layer: Its name.
        mask: Shape of the kernel, bool: which connections there are.
        weights: Shape of the kernel: their weights, and those that the others have.
        dormant: What the weights of the others do, as the layer says.
        rate: Returns the learning rate.
        gradients: Returns the gradient of the loss on the last training batch, float64, by the weights of all connections,
            also those that are not there.
        squared_gradients: Returns the mean, over samples of that batch, of its square for each sample.
        possible: Shape of the kernel, bool: which connections there could be; all by default.
        activity: Returns the `Coactivation` of the ends of all connections on recent inputs, in the shape of the kernel; takes
            the value above which an end is active whose activation has no clear zero.
    """

    layer: str
    mask: Bools
    weights: Floats
    dormant: str = "silent"
    rate: Callable[[], float] = lambda: 0.0
    gradients: Callable[[], Floats] = no_batch
    squared_gradients: Callable[[], Floats] = no_batch
    possible: Bools = field(default_factory=lambda: np.array(True))
    activity: CountsCoactivation = no_activity

    def __post_init__(self) -> None:
        object.__setattr__(self, "possible", np.broadcast_to(self.possible, self.mask.shape))

    @property
    def count(self) -> int:
        """How many connections there are."""
        return int(self.mask.sum())

    @property
    def size(self) -> int:
        """How many there could be."""
        return int(np.sum(self.possible))
