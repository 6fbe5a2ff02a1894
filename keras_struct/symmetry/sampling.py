"""Where strides and padding keep mirrors and rotations."""

from __future__ import annotations

from keras_struct.symmetry.groups import Group


def is_symmetric(extent: int, kernel: int, stride: int, padding: str) -> bool:
    """Return whether a convolution or pooling samples an axis symmetrically, so that it commutes with mirroring it.

    `valid`: if the windows fill the axis, (n - k) mod s = 0. `same`: if the padding is even, with o = ⌈n/s⌉ windows
    (o - 1) s + k - n ≥ 0 and even.

    Args:
        extent: Length n of the axis.
        kernel: Size k of the window, dilation counted in.
        stride: Step s.
        padding: `"valid"` or `"same"`.

    >>> is_symmetric(28, 3, 1, "same"), is_symmetric(28, 3, 2, "same"), is_symmetric(28, 2, 2, "valid")
    (True, False, True)
    """
    if padding == "valid":
        return extent >= kernel and (extent - kernel) % stride == 0
    missing = (-(-extent // stride) - 1) * stride + kernel - extent
    return missing >= 0 and missing % 2 == 0


def sampling_problem(
    group: Group,
    extents: tuple[int | None, int | None],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
) -> str | None:
    """Return why a layer does not keep a symmetry that it promises, and what to change; `None` if it does.

    Args:
        group: What it promises.
        extents: Height and width of its input; where one is unknown, all that it could be.
        kernel: Height and width of the window, dilation counted in.
        strides: Steps along height and width.
        padding: `"valid"` or `"same"`.
    """
    axes = list(zip(extents, kernel, strides, strict=True))
    if group.order > 1 and group.rotations == 1:
        axes = axes[-1:]  # left-right mirrors only
    uneven = [axis for axis in axes if not _always_symmetric(*axis, padding)]
    if group.order == 1 or not uneven:
        return None
    n, k, s = uneven[0]
    if n is None:
        return _some_sizes(group, k, s, padding)
    return (
        f"windows of {k} with stride {s} and padding '{padding}' lie unevenly on an axis of {n}, which breaks {group}. "
        f"{_remedy(n, k, s, padding)}"
    )


def _always_symmetric(n: int | None, k: int, s: int, padding: str) -> bool:
    """Whether every axis of an unknown length, or that of a known one, is sampled symmetrically."""
    return all(is_symmetric(size, k, s, padding) for size in (range(k, k + 2 * s) if n is None else (n,)))


def _some_sizes(group: Group, k: int, s: int, padding: str) -> str:
    """What to say of an axis whose length is not known when the layer is built."""
    even = [size for size in range(k, k + 6 * s) if is_symmetric(size, k, s, padding)]
    windows = [size for size in range(1, 8) if _always_symmetric(None, size, s, padding)]
    other = f"Use a window of {' or '.join(map(str, windows))}" if windows else "Use stride 1 and an odd window"
    what = f"windows of {k} with stride {s} and padding '{padding}' lie evenly"
    if not even:
        return f"{what} on no axis, which breaks {group}. {other}."
    return (
        f"{what} only on axes of {', '.join(map(str, even[:4]))}, ..., and the size of its input is not known; others break "
        f"{group}. {other}, give it such sizes only, or build the model for one size, which is then checked."
    )


def _remedy(n: int, k: int, s: int, padding: str) -> str:
    sizes = [size for size in range(1, 8) if is_symmetric(n, size, s, padding)]
    other = "same" if padding == "valid" else "valid"
    ways = [f"a window of {' or '.join(map(str, sizes))}"] if sizes else []
    if is_symmetric(n, k, s, other):
        ways.append(f"padding='{other}'")
    extents = [size for size in range(max(k, n - 3), n + 4) if is_symmetric(size, k, s, padding)]
    if extents:
        ways.append(f"an axis of {' or '.join(map(str, extents))}")
    return f"Use {', or '.join(ways)}." if ways else "Use stride 1 and an odd window."
