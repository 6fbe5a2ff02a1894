"""Which symmetries a network may have next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from keras_struct.symmetry.groups import Group

Architecture = tuple[str, ...]
"""Name of the group of each layer, from the input on."""
Mutation = Literal["full", "reduced"]


def is_sound(groups: Sequence[str]) -> bool:
    """Return whether no layer has more symmetry than the one before it.

    >>> is_sound(("D4", "C4", "C4")), is_sound(("C4", "D4"))
    (True, False)
    """
    return all(Group(later) <= Group(before) for before, later in pairwise(groups))


def relaxations(
    groups: Sequence[str], mutation: Mutation = "full", allowed: Sequence[str] | None = None
) -> list[Architecture]:
    """Return the architectures that come of relaxing one layer, so that no layer has more symmetry than the one before.

    Args:
        groups: Name of the group of each layer.
        mutation: `"full"`: any layer to any subgroup; `"reduced"`, as the authors' code: the last layer loses its mirrors or some
            rotations, or a layer becomes what the next one is, and D2 is left out.
        allowed: Names of the groups that may occur; all by default.

    References:
        Maile et al., thesis section 4.4.1, EquiNAS_E.
    """
    found = _full(groups) if mutation == "full" else _reduced(groups)
    names = {group.name for group in Group("D4").subgroups()} if allowed is None else set(allowed)
    if mutation == "reduced":
        names -= {"D2"}
    sound = [child for child in dict.fromkeys(found) if is_sound(child) and set(child) <= names | set(groups)]
    return [child for child in sound if mutation == "full" or "D2" not in child]


def _full(groups: Sequence[str]) -> list[Architecture]:
    found = []
    for i, name in enumerate(groups):
        for new in Group(name).subgroups():
            if new.name != name:
                found.append((*groups[:i], new.name, *groups[i + 1 :]))
    return found


def _reduced(groups: Sequence[str]) -> list[Architecture]:
    last = Group(groups[-1])
    lower = [f"C{last.rotations}"] if last.mirrors else []
    lower += [f"{last.name[0]}{n}" for n in (1, 2) if n < last.rotations]
    found = [(*groups[:-1], name) for name in lower]
    for i in range(1, len(groups)):
        if Group(groups[i]) < Group(groups[i - 1]):
            found.append((*groups[: i - 1], groups[i], *groups[i:]))
    return found


def random_architecture(layers: int, rng: np.random.Generator, allowed: Sequence[str] | None = None) -> Architecture:
    """Return one of all architectures in which no layer has more symmetry than the one before, all of them alike likely."""
    names = [group.name for group in Group("D4").subgroups()] if allowed is None else list(allowed)
    counts = dict.fromkeys(names, 1)
    ways = [counts]
    for _ in range(layers - 1):
        counts = {name: sum(counts[other] for other in names if Group(other) <= Group(name)) for name in names}
        ways.append(counts)
    chosen: list[str] = []
    for left in reversed(ways):
        options = [name for name in names if not chosen or Group(name) <= Group(chosen[-1])]
        weights = np.array([left[name] for name in options], float)
        chosen.append(options[int(rng.choice(len(options), p=weights / weights.sum()))])
    return tuple(chosen)


def count_architectures(layers: int, allowed: Sequence[str] | None = None) -> int:
    """Return how many architectures there are in which no layer has more symmetry than the one before.

    >>> count_architectures(8), count_architectures(8, ["C1", "C2", "C4", "D1", "D4"])
    (405, 201)
    """
    names = [group.name for group in Group("D4").subgroups()] if allowed is None else list(allowed)
    counts = dict.fromkeys(names, 1)
    for _ in range(layers - 1):
        counts = {name: sum(counts[other] for other in names if Group(other) <= Group(name)) for name in names}
    return sum(counts.values())
