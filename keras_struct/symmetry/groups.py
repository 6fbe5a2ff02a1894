"""Rotations by quarter turns and mirrors: elements, products, subgroups, cosets, and what they do to images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

ORDER = 8
"""Elements of D4, the largest group. Element `4 f + r` mirrors left and right if `f`, then turns `r` times by 90° against the
clock."""


def product(a: int, b: int) -> int:
    """Return the element that first does `b`, then `a`.

    >>> product(1, 1), product(4, 1)
    (2, 7)
    """
    (f, r), (g, s) = divmod(a, 4), divmod(b, 4)
    return 4 * (f ^ g) + (r + (-s if f else s)) % 4


def inverse(a: int) -> int:
    """Return the element that undoes `a`.

    >>> inverse(1), inverse(4)
    (3, 4)
    """
    f, r = divmod(a, 4)
    return a if f else -r % 4


def act_on_grid(a: int, array: np.ndarray, axes: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Mirror and turn the two axes of an array that are height and width.

    Args:
        a: The element.
        array: Any array with two or more axes.
        axes: Its axes of height and width.

    Returns:
        The array after `a`; height and width change places for an odd number of quarter turns.
    """
    f, r = divmod(a, 4)
    return np.rot90(np.flip(array, axes[1]) if f else array, r, axes)


@dataclass(frozen=True)
class Group:
    """A group of rotations by multiples of 360° / n, with or without mirrors.

    Attributes:
        name: `"C1"`, `"C2"`, `"C4"` (rotations only), `"D1"`, `"D2"` or `"D4"` (with mirrors).

    Raises:
        ValueError: If the name is another.

    >>> Group("D2").elements
    (0, 2, 4, 6)
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(
                f"Unknown group {self.name!r}: expected one of {', '.join(NAMES)}, or {', '.join(ALIASES)}."
            )

    @property
    def mirrors(self) -> bool:
        """Whether it holds mirrors."""
        return self.name[0] == "D"

    @property
    def rotations(self) -> int:
        """How many rotations it holds."""
        return int(self.name[1])

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Its elements, as numbers of those of D4, in its own order."""
        turns = [r * (4 // self.rotations) for r in range(self.rotations)]
        return tuple(4 * f + r for f in range(1 + self.mirrors) for r in turns)

    @property
    def order(self) -> int:
        """How many elements it has."""
        return len(self.elements)

    def __le__(self, other: Group) -> bool:
        """Whether it is a subgroup of another."""
        return self.mirrors <= other.mirrors and other.rotations % self.rotations == 0

    def __lt__(self, other: Group) -> bool:
        """Whether it is a subgroup of another, and not all of it."""
        return self <= other and self != other

    def subgroups(self) -> tuple[Group, ...]:
        """All groups that it holds, itself included, smallest first."""
        found = [Group(name) for name in NAMES if Group(name) <= self]
        return tuple(sorted(found, key=lambda group: (group.order, group.mirrors)))

    def cayley_table(self) -> np.ndarray:
        """Products in its own order: row a, column b is a·b. Shape `(order, order)`."""
        places = {element: i for i, element in enumerate(self.elements)}
        return np.array([[places[product(a, b)] for b in self.elements] for a in self.elements])

    def representatives(self, frame: Group) -> tuple[int, ...]:
        """Smallest element of each coset G·t in a frame that holds the group, in order of appearance."""
        return _cosets(self, frame)[0]

    def decomposition(self, frame: Group) -> tuple[np.ndarray, np.ndarray]:
        """For each element g = g'·t of the frame the place of g' in the group, and that of t among the representatives."""
        return _cosets(self, frame)[1]

    def __str__(self) -> str:
        return self.name


NAMES = ("C1", "C2", "C4", "D1", "D2", "D4")
ALIASES = {"p1": "C1", "p2": "C2", "p4": "C4", "pm": "D1", "p2mm": "D2", "p4m": "D4"}


def get(group: str | Group) -> Group:
    """Return the group of a name (`"C4"`, `"d4"`, `"p4m"`), or the group itself.

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(group, Group):
        return group
    if not isinstance(group, str):
        raise ValueError(f"A group is given by name, such as 'C4', or as a Group. Received: {group!r}")
    return Group(ALIASES.get(group.lower(), group.upper()))


def check_within(group: Group, frame: Group, what: str = "frame") -> None:
    """Raise a ValueError unless a group is a subgroup of another."""
    if not group <= frame:
        inside = ", ".join(found.name for found in frame.subgroups())
        raise ValueError(f"{group} is no subgroup of the {what} {frame}: expected one of {inside}.")


def common_frame(groups: list[Group] | tuple[Group, ...]) -> Group:
    """Return the smallest group that holds all of some.

    >>> common_frame([Group("C4"), Group("D1")]).name
    'D4'
    """
    above = [Group(name) for name in NAMES if all(group <= Group(name) for group in groups)]
    return min(above, key=lambda group: group.order)


def intersection(groups: list[Group] | tuple[Group, ...]) -> Group:
    """Return the largest group that some groups share.

    >>> intersection([Group("C4"), Group("D2")]).name
    'C2'
    """
    below = [Group(name) for name in NAMES if all(Group(name) <= group for group in groups)]
    return max(below, key=lambda group: group.order)


@cache
def _cosets(group: Group, frame: Group) -> tuple[tuple[int, ...], tuple[np.ndarray, np.ndarray]]:
    check_within(group, frame)
    representatives: list[int] = []
    place: dict[int, tuple[int, int]] = {}
    for t in frame.elements:
        if t in place:
            continue
        for i, element in enumerate(group.elements):
            place[product(element, t)] = (i, len(representatives))
        representatives.append(t)
    inner, outer = (np.array([place[g][k] for g in frame.elements]) for k in (0, 1))
    return tuple(representatives), (inner, outer)
