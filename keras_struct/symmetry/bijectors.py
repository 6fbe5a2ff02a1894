"""Group actions as bijectors of TensorFlow Probability, imported when they are first requested."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_struct.symmetry.groups import Group, get, inverse, product


def grid_bijector(element: int) -> Any:
    """Return the bijector that mirrors and turns square images.

    Args:
        element: A number of those of D4; see `keras_struct.symmetry.groups`.

    Returns:
        A `tfp.bijectors.Bijector` on tensors `(..., height, width)`.
    """
    from tensorflow_probability import bijectors as tfb

    flips, turns = divmod(element, 4)
    parts = [_turn(tfb) for _ in range(turns)]
    if flips:
        parts.append(_mirror(tfb, axis=-1))
    return tfb.Chain(parts) if parts else tfb.Identity()


def regular_bijector(group: str | Group, element: int) -> Any:
    """Return the bijector that permutes the channels of a field as an element of its frame does.

    Args:
        group: The frame.
        element: One of its elements.

    Returns:
        A `tfp.bijectors.Permute` on tensors `(..., |frame|)`.

    Raises:
        ValueError: If the element is not one of the group's.
    """
    from tensorflow_probability import bijectors as tfb

    frame = get(group)
    if element not in frame.elements:
        raise ValueError(f"Element {element} is none of {frame}, which has {frame.elements}.")
    places = {other: i for i, other in enumerate(frame.elements)}
    return tfb.Permute(np.array([places[product(inverse(element), h)] for h in frame.elements], np.int32), axis=-1)


def _turn(tfb: Any) -> Any:
    """A quarter turn counter-clockwise: transpose, then upside down."""
    return tfb.Chain([_mirror(tfb, axis=-2), tfb.Transpose(rightmost_transposed_ndims=2)])


def _mirror(tfb: Any, axis: int) -> Any:
    """Reverse an axis of any length."""
    import tensorflow as tf

    return tfb.Inline(
        forward_fn=lambda x: tf.reverse(x, [axis]),
        inverse_fn=lambda y: tf.reverse(y, [axis]),
        forward_log_det_jacobian_fn=lambda x: tf.zeros([], x.dtype),
        forward_min_event_ndims=2,
        name="mirror",
    )
