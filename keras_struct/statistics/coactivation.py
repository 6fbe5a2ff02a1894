"""Which neurons fire together, and which are silent together."""

from __future__ import annotations

import numpy as np


class Coactivation:
    """Counts of samples in which two neurons are active together, over as many batches as are added.

    Args:
        neurons: How many there are.

    Attributes:
        counts: For each pair, in how many samples both were active; for a neuron and itself, in how many it was. int64,
            `(neurons, neurons)`.
        samples: How many samples there were.

    Raises:
        ValueError: If a batch has another number of neurons.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, section 3.4.

    Examples:
        >>> seen = Coactivation(2)
        >>> seen.add([[True, True], [True, False]])
        >>> seen.add([[False, False], [True, True]])
        >>> seen.together.tolist(), seen.silent.tolist()
        ([[0.75, 0.5], [0.5, 0.5]], [[0.25, 0.25], [0.25, 0.5]])
    """

    def __init__(self, neurons: int) -> None:
        self.counts = np.zeros((neurons, neurons), np.int64)
        self.samples = 0

    def add(self, active: np.ndarray) -> None:
        """Count a batch.

        Args:
            active: Shape `(samples, neurons)`, bool.
        """
        active = np.asarray(active, bool)
        if active.ndim != 2 or active.shape[1] != len(self.counts):
            raise ValueError(
                f"Expected one row for each sample and {len(self.counts)} columns, one for each neuron. Received shape "
                f"{active.shape}."
            )
        for start in range(0, len(active), 2**23):  # float32 counts exactly up to 2^24
            part = active[start : start + 2**23].astype(np.float32)
            self.counts += (part.T @ part).astype(np.int64)
        self.samples += len(active)

    @property
    def together(self) -> np.ndarray:
        """NCAM: in which share of the samples two neurons are active together."""
        return self.counts / max(1, self.samples)

    @property
    def silent(self) -> np.ndarray:
        """NCIM: in which share of the samples two neurons are inactive together."""
        active = np.diag(self.counts)
        return (self.samples - active[:, None] - active[None, :] + self.counts) / max(1, self.samples)


def coactivation(active: np.ndarray) -> np.ndarray:
    """Return in which share of samples two neurons are active together (NCAM).

    Args:
        active: Shape `(samples, neurons)`, bool.

    References:
        *FreeNets*, section 3.4.

    >>> coactivation([[True, True], [True, False]]).tolist()
    [[1.0, 0.5], [0.5, 0.5]]
    """
    return _counted(active).together


def coinactivation(active: np.ndarray) -> np.ndarray:
    """Return in which share of samples two neurons are inactive together (NCIM); arguments as `coactivation`.

    >>> coinactivation([[True, False], [False, False]]).tolist()
    [[0.5, 0.5], [0.5, 1.0]]
    """
    return _counted(active).silent


def _counted(active: np.ndarray) -> Coactivation:
    found = Coactivation(np.asarray(active).shape[-1])
    found.add(active)
    return found
