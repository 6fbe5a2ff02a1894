"""Gradients of the loss around one axis, computed when they are requested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

from keras_struct.core.structure.arrays import Floats


class GradientNorms(NamedTuple):
    """How large the gradients of the existing units are.

    Attributes:
        incoming: Euclidean norm of the gradient of each unit's incoming weights in the first layer that makes it, `(M,)`.
        outgoing: Euclidean norm of the gradient of each unit's outgoing weights, over all layers that read it, `(M,)`.
    """

    incoming: Floats
    outgoing: Floats


class UnitGradients(NamedTuple):
    """Gradients of the loss by the weights of K units that do not exist.

    Attributes:
        fan_in: By the incoming weights, `(..., K)`.
        fan_out: By the outgoing weights `(K, positions, ...)` in each layer that reads the axis.
    """

    fan_in: Floats
    fan_out: list[Floats]


class BatchGradients(Protocol):
    """Computes gradients of the loss on one batch, around any axis. `AxisGradients` says what each of them is."""

    def norms(self, axis: str) -> GradientNorms:
        """Gradient norms of the existing units."""

    def bound(self, axis: str) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient."""

    def auxiliary(self, axis: str, linear: bool = True) -> Floats:
        """The auxiliary gradient."""

    def virtual(
        self,
        axis: str,
        fan_in: Floats | None,
        fan_out: Sequence[Floats],
        bias: Floats | None = None,
        linear: bool = False,
    ) -> UnitGradients:
        """Gradients by the weights of units that do not exist."""

    def losses(self, axis: str, fan_in: Floats, fan_out: Sequence[Floats]) -> Floats:
        """Loss with each of several new units added by itself."""

    def gate_derivatives(self, axis: str) -> Floats:
        """Derivative of each sample's loss by a factor on what is read of each unit."""

    def losses_without(self, axis: str) -> Floats:
        """Loss with each existing unit, by itself, silent."""


def no_batch(*_: object) -> NoReturn:
    """Stand for what computes gradients where there is no batch with targets.

    Raises:
        ValueError: With what to do about it.
    """
    raise ValueError(
        "There is no batch with targets to compute gradients on: batches are kept only while a strategy trains that looks at "
        "gradients. Pass `data=(x, y)` to `prune`, `grow` or `measure`, or `probe=x, targets=y` to compile."
    )


@dataclass(frozen=True, eq=False)
class AxisGradients:
    """Gradients of the loss around one axis, on the last training batch and in inference mode.

    Attributes:
        batch: Takes a number of samples, or `None` for all, and returns what computes gradients on them.
        axis: Name of the axis.

    Raises:
        ValueError: When asked, if the loss or the batch does not allow it.
        AxisRefused: When asked, if a layer around the axis does not.
    """

    batch: Callable[[int | None], BatchGradients]
    axis: str

    def norms(self, samples: int | None = None) -> GradientNorms:
        """Euclidean norms of the gradient of each unit's incoming (first layer) and outgoing weights, `(M,)` each.

        Args:
            samples: How many samples of the batch to use; all by default.
        """
        return self.batch(samples).norms(self.axis)

    def bound(self, samples: int | None = None) -> float:
        """Upper bound of the largest singular value of the auxiliary gradient, wrong once in 65536 times at most."""
        return self.batch(samples).bound(self.axis)

    def auxiliary(self, linear: bool = True, samples: int | None = None) -> Floats:
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
        return self.batch(samples).auxiliary(self.axis, linear)

    def virtual(
        self,
        fan_in: Floats | None,
        fan_out: Sequence[Floats],
        bias: Floats | None = None,
        linear: bool = False,
    ) -> UnitGradients:
        """Gradients of the loss by the weights of K units that do not exist, to first order in what they add.

        Args:
            fan_in: Incoming weights `(..., K)`; `None` for zeros.
            fan_out: Outgoing weights `(K, positions, ...)` for each layer that reads the axis, as in `FanOut.weights`.
            bias: Their biases, `(K,)`; zeros by default.
            linear: Leave out normalisation and activation.

        Returns:
            The gradients, of the shapes of `fan_in` and `fan_out`.
        """
        return self.batch(None).virtual(self.axis, fan_in, fan_out, bias, linear)

    def gates(self, samples: int | None = None) -> Floats:
        """Derivative of each sample's loss by a factor on what the layers behind read of each unit.

        It is the sum over positions of activations times their gradients; for a loss that is a mean over samples. Of units that
        never leave their layer (heads of an attention, what a recurrent layer reads of itself) it is the sum of outgoing weights
        times their gradients, which is the same, for the first 64 samples.

        Args:
            samples: How many samples of the batch to use; all by default.

        Returns:
            Shape `(samples, M)`, float64.
        """
        return self.batch(samples).gate_derivatives(self.axis)

    def losses_without(self) -> Floats:
        """Loss of the batch with each unit, by itself, silent; shape `(M,)`, float64."""
        return self.batch(None).losses_without(self.axis)

    def losses(self, fan_in: Floats, fan_out: Sequence[Floats]) -> Floats:
        """Loss of the batch with each of K units, given as for `virtual`, added by itself; shape `(K,)`, float64."""
        return self.batch(None).losses(self.axis, fan_in, fan_out)
