"""Compute everything edits will write, check it, and change nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.structure.rearrangement import Rearrangement
from keras_struct.core.structure.rules import Port
from keras_struct.core.surgery.checking import check_layers
from keras_struct.core.surgery.edit_kinds import EditKind, Fact, Request, Structure, Write, all_kinds, by_kind
from keras_struct.core.surgery.rearranging import rearranged_sizes, rearranged_weights


@dataclass(frozen=True)
class Plan:
    """What edits will write.

    Attributes:
        graph: The structure afterwards.
        writes: Each variable with its value before and afterwards.
        facts: Layers and an attribute, such as the number of units, with its new value.
        changes: What happens along each axis of a variable.
        stale: Whether compiled steps must be traced again even if all variables keep their objects.
    """

    graph: StructureGraph
    writes: list[Write]
    facts: list[Fact]
    changes: Mapping[Port, Rearrangement]
    stale: bool

    def added_parameters(self, variables: Collection[int]) -> int:
        """By how many parameters the variables with the given `id`s grow."""
        return sum(after.size - before.size for variable, before, after in self.writes if id(variable) in variables)


def plan(request: Request) -> Plan:
    """Work out edits of different axes and layers, which are carried out at once.

    Raises:
        ValueError: If an edit is not possible, not together with the others, or a layer of the user's own does not do what its
            unit rules say.
        TypeError: If something is no edit.
    """
    network, kinds = request.network, by_kind(request.edits)
    after = _rearranged(request, kinds)
    weights = rearranged_weights(request, after)
    values = {key: write.after for key, (write, _) in weights.items()}
    writes = [write for first, slots in weights.values() for write in (first, *slots)]
    for kind, edits in kinds:
        kind.check(request, edits, after, values)
    touched, facts = {layer for layer, _ in weights}, rearranged_sizes(network, after)
    for kind, edits in kinds:
        more, attributes = kind.plan(request, edits, touched)
        writes, facts = writes + more, facts + attributes
        touched |= {kind.name(edit) for edit in edits} if more or attributes else set()
    following = [fact for kind in all_kinds() for fact in kind.follow(network, writes)]
    stale = bool(following) or any(kind.needs_retracing(network, edits) for kind, edits in kinds)
    planned = Plan(after.graph, writes, facts + following, after.changes, stale)
    check_layers(network, planned)
    return planned


def _rearranged(request: Request, kinds: Sequence[tuple[EditKind[Any], list[Any]]]) -> Structure:
    """The structure afterwards, which edits of one kind change."""
    found = [after for kind, edits in kinds if (after := kind.rearrange(request, edits)) is not None]
    if len(found) > 1:
        names = sorted({kind.name(edit) for kind, edits in kinds for edit in edits})
        raise ValueError(
            f"Several edits of {names} would move units at once, which no one of them can follow. Make one edit after the other."
        )
    return found[0] if found else Structure(request.network.graph, {})
