"""What policies get to see of one unit axis."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np


class FanIn:
    """Incoming weights of the units of an axis in one layer that makes them.

    Args:
        key: `"layer/variable"`.
        weights: Shape `(..., units)`: whatever comes in, units last; or a function that reads them when they are needed.
        expand: Takes new incoming weights `(..., count)` and returns the array that an edit expects under `key`.
    """

    def __init__(
        self,
        key: str,
        weights: np.ndarray | Callable[[], np.ndarray],
        expand: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.key, self.expand = key, expand
        self._weights = weights

    @cached_property
    def weights(self) -> np.ndarray:
        """The weights, `(..., units)`."""
        return self._weights() if callable(self._weights) else self._weights

    @property
    def norms(self) -> np.ndarray:
        """Euclidean norm of each unit's incoming weights, without bias; shape `(units,)`, float64."""
        flat = self.weights.reshape(-1, self.weights.shape[-1]).astype(np.float64)
        return np.sqrt((flat**2).sum(axis=0))


@dataclass(frozen=True)
class FanOut:
    """Outgoing weights of the units of an axis in one layer that reads them.

    Attributes:
        key: `"layer/variable/axis"`.
        weights: Shape `(units, positions, ...)`: units first, then the places at which the layer reads each of them (one,
            or all positions behind a `Flatten`), then the other axes of the variable in their order.
        expand: Takes new outgoing weights `(count, positions, ...)` and returns the array that an edit expects under `key`.
    """

    key: str
    weights: np.ndarray
    expand: Callable[[np.ndarray], np.ndarray]

    @property
    def norms(self) -> np.ndarray:
        """Euclidean norm of each unit's outgoing weights; shape `(units,)`, float64."""
        flat = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        return np.sqrt((flat**2).sum(axis=1))


@dataclass(frozen=True)
class AxisMeasurement:
    """One unit axis of a running network. Expensive parts are computed when they are asked for.

    Activations, inputs and candidates are those of the first layer that makes the units.

    Attributes:
        axis: Its name.
        units: Its width, M.
        max_units: Largest width it may have, or `None`.
        kind: `"conv"` if its first layer is a convolution, else `"dense"`.
        fan_in: Incoming weights, one entry for each layer that makes the units.
        fan_out: Returns the outgoing weights, one entry for each layer that reads them.
        initial_units: Its width when the model was built.
        loss: Training loss of the last step, or `None` where it is not known.
        gram: Returns the Gram matrix HᵀH/n of the post-activations, `(M, M)` float64.
        samples: Returns n, the number of rows of H: samples times positions.
        candidates: Takes incoming weights `(..., K)` of candidate units and returns, in float64, their products with the
            existing units HᵀC/n `(M, K)` and their mean squares `(K,)`.
        candidate_gradients: Takes incoming weights `(..., K)` and factors `(M, K)` and `(K,)`; returns the derivative, by
            the weights, of the sum of the factors times HᵀC/n and half the mean squares.
        orthogonality_gap: Returns the measure of `keras_struct.statistics.orthogonality_gap`; for convolutions with one entry
            a channel and position.
        input_gram: Returns the second moments XᵀX/n of what enters the units, `(fan_in, fan_in)` float64, in the order of
            the flattened incoming weights of a unit; for a convolution a row is a patch.
        bias: Returns the biases of the units in their first layer, `(M,)`, or `None` if it has none.
        activity: Returns, for each unit, the mean and the mean magnitude of its post-activations, and the share of zeros
            among them, `(M,)` float64 each.
        normalization: Returns scale γ and factor γ/√(σ²+ε) of the batch normalisation behind the first layer, `(M,)` float64
            each, or `None` without one.
        slope: Returns the derivative, at 0, of what follows a unit's sum of inputs: normalisation and activation.
        offset: Returns what a unit with zero incoming weights emits.
        gradients: Gradients of the loss on the last training batch, or an object that raises when it is asked.
        affordable: Takes a number of units, by how much other axes are to grow, and largest numbers of parameters and of
            operations of the model (or `None`); returns how many of the units these allow.
        warn: Warns, once in a training for each key.
    """

    axis: str
    units: int
    max_units: int | None
    kind: str
    fan_in: tuple[FanIn, ...]
    fan_out: Callable[[], tuple[FanOut, ...]] = tuple
    initial_units: int = 0
    loss: float | None = None
    gram: Callable[[], np.ndarray] = field(default=lambda: _no_inputs())
    samples: Callable[[], int] = field(default=lambda: _no_inputs())
    candidates: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = field(default=lambda kernels: _no_inputs())
    candidate_gradients: Callable[..., np.ndarray] = field(default=lambda *args: _no_inputs())
    orthogonality_gap: Callable[[], float] = field(default=lambda: _no_inputs())
    input_gram: Callable[[], np.ndarray] = field(default=lambda: _no_inputs())
    bias: Callable[[], np.ndarray | None] = lambda: None
    activity: Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default=lambda: _no_inputs())
    normalization: Callable[[], tuple[np.ndarray, np.ndarray] | None] = lambda: None
    slope: Callable[[], float] = lambda: 1.0
    offset: Callable[[], float] = lambda: 0.0
    gradients: Any = field(default_factory=lambda: NoGradients())
    affordable: Callable[..., int] = lambda count, *limits: count
    _memory: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    warn: Callable[[str, str], None] = field(default=lambda key, text: warnings.warn(text, stacklevel=3))

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Compute something when it is first asked for under a key."""
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]

    @property
    def room(self) -> int:
        """How many units may still be added."""
        return 2**31 if self.max_units is None else max(0, self.max_units - self.units)


class NoGradients:
    """Stands for gradients that cannot be computed; raises when one is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(
            "There is no batch with targets to compute gradients on: batches are kept only while a strategy trains that looks at "
            "gradients. Pass `data=(x, y)` to `prune`, `grow` or `measure`, or `probe=x, targets=y` to compile."
        )


def _no_inputs():
    raise ValueError(
        "There are no inputs to measure on: recent inputs are kept only while a strategy trains that looks at activations. Pass "
        "`data=x` to `prune`, `grow` or `measure`, or `probe=x` to compile."
    )
