"""What gradients tell about units: the auxiliary gradient around a layer, norms for each unit, the Fisher information."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_struct.measure.statistics.effective_dimension import as_samples, gram, mean_products


def auxiliary_gradient(inputs: Any, output_gradients: Any) -> np.ndarray:
    """Gradient of a zero layer that bridges a dense one: `h_{l-1} (dL/dz_{l+1})^T`, summed over samples.

    Its largest singular values say by how much new units in between could raise the gradient.

    Args:
        inputs: Shape `(samples, ..., fan_in)`: what enters layer `l`.
        output_gradients: Shape `(samples, ..., units)`: derivatives of the loss, summed or averaged over samples as it is,
            by the sums of inputs of layer `l + 1`.

    Returns:
        Shape `(fan_in, units)`, float64.

    Raises:
        ValueError: If the samples differ in number.

    References:
        Evci et al., *GradMax: Growing Neural Networks using Gradient Information*, ICLR 2022, section 3.

    >>> auxiliary_gradient([[1., 2.], [0., 1.]], [[3.], [1.]])
    array([[3.],
           [7.]])
    """
    left, right = as_samples(inputs), as_samples(output_gradients)
    if left.shape[0] != right.shape[0]:
        raise ValueError(
            f"Inputs of {left.shape[0]} samples and gradients of {right.shape[0]} do not belong together: both must come "
            "from the same batch."
        )
    return mean_products(left, right) * left.shape[0]


def convolutional_auxiliary_gradient(
    inputs: Any, output_gradients: Any, first_size: tuple[int, int], second_size: tuple[int, int]
) -> np.ndarray:
    """Gradient of a zero bridge around a channel between two convolutions of stride 1 with "same" padding.

    `M[r, q] = sum_p x(p + r) g(p - q)`, with offsets `r` and `q` of the first and second kernel and positions `p` of the map
    in between only. A single convolution with both kernels' reach would also count positions outside of that map, which the
    padding of the second convolution has set to zero.

    Args:
        inputs: Shape `(samples, height, width, channels)`: what enters the first convolution.
        output_gradients: Shape `(samples, height, width, filters)`: derivatives of the loss by the sums of the second one.
        first_size: Height and width of the first kernel.
        second_size: Height and width of the second kernel.

    Returns:
        Shape `(*first_size, channels, *second_size, filters)`, float64: the derivative, by the first kernel of a linear
        channel, of the loss, if its second kernel is 1 at one place.

    Raises:
        ValueError: If the shapes do not belong together.

    References:
        Evci et al., *GradMax*, ICLR 2022, appendix. Differs from the authors' code, which is not exact at the border.
    """
    x, g = (np.asarray(_numpy(array), np.float64) for array in (inputs, output_gradients))
    if x.ndim != 4 or x.shape[:3] != g.shape[:3]:
        raise ValueError(
            f"Inputs of shape {x.shape} and gradients of shape {g.shape} do not belong together: expected (samples, height, "
            "width, channels) and (samples, height, width, filters)."
        )
    entering = _shifted(x, first_size, forward=True)
    cotangents = _shifted(g, second_size, forward=False)
    return np.einsum("nhwabc,nhwdef->abcdef", entering, cotangents, optimize=True)


def _shifted(array: np.ndarray, size: tuple[int, int], forward: bool) -> np.ndarray:
    """Values around each position, zero outside: `(n, h, w, *size, c)`, at `p + r` or at `p - q`."""
    height, width = size
    before = ((height - 1) // 2, (width - 1) // 2)
    after = (height - 1 - before[0], width - 1 - before[1])
    if not forward:
        before, after = after, before
    padded = np.pad(array, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    windows = np.moveaxis(windows, 3, -1)  # channels behind the offsets
    return windows if forward else windows[:, :, :, ::-1, ::-1]


def unit_gradient_norms(gradient: Any, axis: int = -1) -> np.ndarray:
    """Euclidean norm of the gradient of each unit's weights.

    Args:
        gradient: Gradient of a kernel.
        axis: Axis of the kernel along which the units lie: the last for incoming weights, the last but one for outgoing.

    Returns:
        Shape `(units,)`, float64.

    >>> unit_gradient_norms([[3., 0.], [4., 1.]])
    array([5., 1.])
    """
    rows = np.moveaxis(np.asarray(_numpy(gradient), np.float64), axis, 0)
    return np.sqrt(np.square(rows.reshape(len(rows), -1)).sum(axis=1))


def fisher_trace(model: Any, x: Any, y: Any) -> float:
    """Trace of the empirical Fisher information: the mean over samples of the squared norm of the loss's gradient.

    Args:
        model: A model that is compiled with a loss.
        x: Inputs, an array `(samples, ...)`.
        y: Their targets.

    Returns:
        A number from 0 on; gradients are by all trainable weights, in inference mode.

    Raises:
        ValueError: If the model has no loss, or there is no sample.
    """
    from keras_struct.core.backend import current, keras_internals

    loss = keras_internals.loss_function(model)
    if loss is None:
        raise ValueError("The Fisher information needs a loss: compile the model with one.")
    if not len(x):
        raise ValueError("The Fisher information needs at least one sample.")
    total = 0.0
    for i in range(len(x)):
        found = current().weight_gradients(model, loss, (x[i : i + 1], y[i : i + 1], None))
        total += sum(float((part**2).sum()) for part in found)
    return total / len(x)


def nuclear_norm(activations: Any) -> float:
    """Sum of the singular values of `H / sqrt(n)`: a smooth stand-in for the rank of activations.

    Args:
        activations: Shape `(samples, ..., units)`.

    Returns:
        A number from 0 on.

    >>> nuclear_norm([[2., 0.], [0., 2.], [0., 0.], [0., 0.]])
    2.0
    """
    values = np.linalg.eigvalsh(gram(activations))
    return float(np.sqrt(np.maximum(values, 0.0)).sum())


def _numpy(array: Any) -> Any:
    import sys

    keras = sys.modules.get("keras")
    return keras.ops.convert_to_numpy(array) if keras is not None and keras.ops.is_tensor(array) else array
