"""Index tables that expand the free weights of an equivariant kernel, and take them from one group to another."""

from __future__ import annotations

from functools import cache

import numpy as np

from keras_struct.symmetry.groups import Group, act_on_grid, check_within, inverse, product

Size = tuple[int, int]
"""Height and width of a kernel."""


def pixels_before(a: int, size: Size) -> np.ndarray:
    """Return for each pixel u of a kernel the pixel a⁻¹u; the kernel is square if `a` is a quarter turn."""
    return act_on_grid(a, np.arange(size[0] * size[1]).reshape(size)).ravel()


@cache
def expansion(size: Size, group: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Return which free row each entry of an expanded kernel is.

    A kernel that is equivariant to a group G in a frame T has a free row of weights (fields by fields) for each orbit of G on
    (pixel u, input element h, output element g). With h = h's and g = g't in the cosets of G, entry (u, h, g) is row
    (g'⁻¹u, g'⁻¹h', s, t). The image that a lifting reads has one input element only.

    Args:
        size: Height and width of the kernel, equal if G has quarter turns.
        group: G.
        frame: T, which holds G.
        lifting: Whether the input is an image instead of features in the frame.

    Returns:
        Shape `(pixels, 1 or |T|, |T|)`, int32.

    References:
        Maile et al., *Equivariance-aware architectural optimization of neural networks*, ICLR 2023 (thesis equations 2 and 3).
    """
    inner, outer = group.decomposition(frame)
    pixels, representatives = size[0] * size[1], len(group.representatives(frame))
    local = {element: i for i, element in enumerate(group.elements)}
    inputs = range(1) if lifting else range(frame.order)
    table = np.empty((pixels, len(inputs), frame.order), np.int32)
    for j in range(frame.order):
        undo = inverse(group.elements[inner[j]])
        moved = pixels_before(group.elements[inner[j]], size)
        for i in inputs:
            if lifting:
                table[:, i, j] = moved * representatives + outer[j]
            else:
                k = local[product(undo, group.elements[inner[i]])]
                row = (moved * group.order + k) * representatives + outer[i]
                table[:, i, j] = row * representatives + outer[j]
    return table


def free_rows(size: Size, group: Group, frame: Group, lifting: bool) -> int:
    """Return how many free rows a kernel has."""
    return size[0] * size[1] * (1 if lifting else frame.order) * frame.order // group.order


@cache
def relaxation(size: Size, group: Group, new: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Return for each free row of a kernel that is equivariant to a subgroup the row of the old kernel that it equals.

    Raises:
        ValueError: If `new` is no subgroup of `group`.

    References:
        Thesis equation 5, channel reordering included.
    """
    check_within(new, group, "present group")
    old, table = expansion(size, group, frame, lifting), expansion(size, new, frame, lifting)
    source = np.empty(free_rows(size, new, frame, lifting), np.int32)
    source[table.ravel()] = old.ravel()
    return source


@cache
def constraint(size: Size, group: Group, new: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Return for each free row of a kernel the row of a kernel of a larger group that it is averaged into.

    Raises:
        ValueError: If `new` does not hold `group`.
    """
    return relaxation(size, new, group, frame, lifting)


def averaged(rows: np.ndarray, into: np.ndarray, count: int) -> np.ndarray:
    """Return the mean of the rows that belong together, `(count, ...)`: the orthogonal projection on the larger symmetry."""
    total = np.zeros((count, *rows.shape[1:]), np.result_type(rows.dtype, np.float32))
    np.add.at(total, into, rows)
    shared = np.bincount(into, minlength=count).reshape(-1, *(1,) * (rows.ndim - 1))
    return (total / shared).astype(rows.dtype)


def expand(rows: np.ndarray, size: Size, group: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Expand free rows to a kernel of a plain convolution.

    Args:
        rows: Shape `(free rows, fields in, fields out)`.
        size: Height and width.
        group: What the kernel is equivariant to.
        frame: Of its output, and of its input unless that is an image.
        lifting: Whether it is.

    Returns:
        Shape `(size, size, fields in · |T|, fields out · |T|)`; channels are ordered field by field, the elements of the frame
        within. Fields of an image are its channels.
    """
    table = expansion(size, group, frame, lifting)
    full = rows[table]  # (pixels, in elements, out elements, fields in, fields out)
    _, ins, outs, fields_in, fields_out = full.shape
    return full.transpose(0, 3, 1, 4, 2).reshape(*size, fields_in * ins, fields_out * outs)


def compress(kernel: np.ndarray, group: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Return the free rows of an expanded kernel that is equivariant to the group; the inverse of `expand`."""
    size, order = kernel.shape[:2], frame.order
    ins = 1 if lifting else order
    full = kernel.reshape(size[0] * size[1], -1, ins, kernel.shape[3] // order, order).transpose(0, 2, 4, 1, 3)
    table = expansion(size, group, frame, lifting)
    rows = np.empty((free_rows(size, group, frame, lifting), *full.shape[3:]), kernel.dtype)
    rows[table[::-1].ravel()] = full[::-1].reshape(-1, *full.shape[3:])
    return rows


def project(kernel: np.ndarray, group: Group, frame: Group, lifting: bool) -> np.ndarray:
    """Return the equivariant kernel that is nearest to an expanded one, same shape: its mean over the group.

    P W = mean over a in G of W[a⁻¹u, a⁻¹h, a⁻¹g].
    """
    one = Group("C1")
    rows = compress(kernel, one, frame, lifting)
    size = kernel.shape[:2]
    into = constraint(size, one, group, frame, lifting)
    return expand(averaged(rows, into, free_rows(size, group, frame, lifting)), size, group, frame, lifting)


def act_on_features(a: int, maps: np.ndarray, frame: Group, lifted: bool = True) -> np.ndarray:
    """Turn images, or features in a frame.

    Args:
        a: The element, of the frame for features.
        maps: Shape `(samples, height, width, channels)`.
        frame: How channels are ordered: field by field, the elements of the frame within.
        lifted: Whether they are features; channels of images stay where they are.

    Returns:
        (a·y)(x, h) = y(a⁻¹x, a⁻¹h).
    """
    moved = act_on_grid(a, maps, (1, 2))
    if not lifted:
        return moved
    places = {element: i for i, element in enumerate(frame.elements)}
    source = [places[product(inverse(a), h)] for h in frame.elements]
    blocks = moved.reshape(*moved.shape[:3], -1, frame.order)
    return blocks[..., source].reshape(moved.shape)
