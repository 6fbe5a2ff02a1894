"""Which neurons fire together, and which are silent together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT = 2**23
"""How many samples are multiplied in float32 at once, which counts exactly up to 2²⁴."""


@dataclass(frozen=True, eq=False)
class Coactivation:
    """In how many samples both ends of connections are active. Batches are counted one by one and added.

    Attributes:
        counts: For each connection, in how many samples both of its ends are active, int64: `(neurons, neurons)`, or in the shape
            of a kernel.
        readers: In how many samples the neuron that reads is active; broadcasts against `counts`.
        sources: In how many samples what it reads is active; broadcasts against `counts`.
        samples: How many samples there were; of convolutions, positions of samples.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, section 3.4.

    Examples:
        >>> seen = Coactivation.of([[True, True], [True, False]]) + Coactivation.of([[False, False], [True, True]])
        >>> seen.together.tolist(), seen.silent.tolist()
        ([[0.75, 0.5], [0.5, 0.5]], [[0.25, 0.25], [0.25, 0.5]])
    """

    counts: np.ndarray
    readers: np.ndarray
    sources: np.ndarray
    samples: int

    @classmethod
    def of(cls, active: Any, sources: Any = None) -> Coactivation:
        """Count a batch, by one matrix product.

        Args:
            active: Which neurons are active, `(samples, neurons)`, bool.
            sources: Which of those that they may read are active, `(samples, sources)`, bool; by default the same.

        Returns:
            Counts of shape `(neurons, sources)`.

        Raises:
            ValueError: If a shape is another.
        """
        active = np.asarray(active, bool)
        sources = active if sources is None else np.asarray(sources, bool)
        if active.ndim != 2 or sources.ndim != 2 or len(active) != len(sources):
            raise ValueError(
                "Expected one row for each sample and one column for each neuron, booleans. Received shapes "
                f"{active.shape} and {sources.shape}."
            )
        counts = np.zeros((active.shape[1], sources.shape[1]), np.int64)
        for start in range(0, len(active), EXACT):
            part, others = (x[start : start + EXACT].astype(np.float32) for x in (active, sources))
            counts += (part.T @ others).astype(np.int64)
        return cls(counts, active.sum(0)[:, None], sources.sum(0)[None], len(active))

    def __add__(self, other: Coactivation) -> Coactivation:
        """Count two batches together."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"Cannot add counts of shape {other.counts.shape} to those of shape {self.counts.shape}: they are of other "
                "neurons, or were made before an edit."
            )
        return Coactivation(
            self.counts + other.counts,
            self.readers + other.readers,
            self.sources + other.sources,
            self.samples + other.samples,
        )

    @property
    def together(self) -> np.ndarray:
        """NCAM: in which share of the samples both ends are active."""
        return self.counts / max(1, self.samples)

    @property
    def silent(self) -> np.ndarray:
        """NCIM: in which share of the samples both ends are inactive."""
        return (self.samples - self.readers - self.sources + self.counts) / max(1, self.samples)


def coactivation(active: Any, sources: Any = None) -> np.ndarray:
    """Return in which share of samples two neurons are active together (NCAM).

    Args:
        active: Which neurons are active, `(samples, neurons)`, bool.
        sources: Which of others are, `(samples, sources)`, bool; by default the same.

    Returns:
        Shape `(neurons, sources)`, float64.

    References:
        *FreeNets*, section 3.4.

    >>> coactivation([[True, True], [True, False]]).tolist()
    [[1.0, 0.5], [0.5, 0.5]]
    """
    return Coactivation.of(active, sources).together


def coinactivation(active: Any, sources: Any = None) -> np.ndarray:
    """Return in which share of samples two neurons are inactive together (NCIM); arguments as `coactivation`.

    >>> coinactivation([[True, False], [False, False]]).tolist()
    [[0.5, 0.5], [0.5, 1.0]]
    """
    return Coactivation.of(active, sources).silent
