"""What policies get to see of the gradients around one axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from keras_struct.probes.gradient_sweep import GradientSweep


class AxisGradients:
    """Gradients of the loss around one axis, on the last training batch and in inference mode.

    Args:
        sweep: Takes a number of samples, or none for all, and returns the `GradientSweep`.
        axis: Name of the axis.

    Raises:
        ValueError: When asked, if the loss or the batch does not allow it.
        AxisRefused: When asked, if a layer around the axis does not.
    """

    def __init__(self, sweep: Callable[..., GradientSweep], axis: str) -> None:
        self._sweep, self._axis = sweep, axis

    def norms(self, samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean norms of the gradient of each unit's incoming (first layer) and outgoing weights, `(M,)` each.

        Args:
            samples: How many samples of the batch to use; all by default.
        """
        return self._sweep(samples).norms(self._axis)

    def bound(self, samples: int | None = None) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 65536 times at most."""
        return self._sweep(samples).bound(self._axis)

    def auxiliary(self, linear: bool = True, samples: int | None = None) -> np.ndarray:
        """The auxiliary (bridging) gradient, shape `(fan_in, fan_out)`, float64.

        Args:
            linear: Leave out normalisation and activation of the units, as the equations do; otherwise these enter with
                their derivative at 0, so that it is the gradient that the units will have.
            samples: How many samples of the batch to use; all by default.

        Returns:
            Entry `(i, j)` is the derivative, by incoming weight `i`, of the loss with a linear unit whose only outgoing
            weight is a 1 at place `j`: the gradient of a zero layer that bridges the axis. Exact at borders, through
            pooling, strides and dilation, as it is differentiated and not composed.
        """
        return self._sweep(samples).auxiliary(self._axis, linear)

    def virtual(
        self,
        fan_in: np.ndarray | None,
        fan_out: Sequence[np.ndarray],
        bias: np.ndarray | None = None,
        linear: bool = False,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of the loss by the weights of K units that do not exist, to first order in what they add.

        Args:
            fan_in: Incoming weights `(..., K)`; `None` for zeros.
            fan_out: Outgoing weights `(K, positions, ...)` for each layer that reads the axis, as in `FanOut.weights`.
            bias: Their biases, `(K,)`; zeros by default.
            linear: Leave out normalisation and activation.

        Returns:
            The gradients, of the shapes of `fan_in` and `fan_out`.
        """
        return self._sweep(None).virtual(self._axis, fan_in, fan_out, bias, linear)

    def gates(self, samples: int | None = None) -> np.ndarray:
        """Derivative of each sample's loss by a factor on what the layers behind read of each unit.

        It is the sum over positions of activations times their gradients; for a loss that is a mean over samples. Of units that
        never leave their layer (heads of an attention, what a recurrent layer reads of itself) it is the sum of outgoing weights
        times their gradients, which is the same, for the first 64 samples.

        Args:
            samples: How many samples of the batch to use; all by default.

        Returns:
            Shape `(samples, M)`, float64.
        """
        return self._sweep(samples).gates.derivatives(self._axis)

    def losses_without(self) -> np.ndarray:
        """Loss of the batch with each unit, by itself, silent; shape `(M,)`, float64."""
        return self._sweep(None).gates.losses_without(self._axis)

    def losses(self, fan_in: np.ndarray, fan_out: Sequence[np.ndarray]) -> np.ndarray:
        """Loss of the batch with each of K units, given as for `virtual`, added by itself; shape `(K,)`, float64."""
        return self._sweep(None).losses(self._axis, fan_in, fan_out)
