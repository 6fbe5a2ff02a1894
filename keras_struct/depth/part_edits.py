"""Parts that are put together, renamed, or begin elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keras_struct.depth.edits import Entry, Made, Part, PartCall, Source, Start, mapped


def new_names(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Return names, with a number behind those that are taken already.

    Args:
        names: The wanted ones.
        taken: Those that are not to be used.
    """
    used, found = set(taken), []
    for name in names:
        wanted, count = name, 1
        while wanted in used:
            wanted, count = f"{name}_{count}", count + 1
        used.add(wanted)
        found.append(wanted)
    return found


def joined(parts: Sequence[Part]) -> Part:
    """Return parts behind each other, of one output each; what they read beside is the same for all."""
    layers: dict[str, Mapping[str, Any]] = {}
    starts: dict[str, Start] = {}
    calls: list[PartCall] = []
    entering: Source = Entry(0)
    for part in parts:
        offset = len(calls)

        def moved(value: Any, offset: int = offset, first: Source = entering) -> Any:
            if isinstance(value, Made):
                return Made(value.call + offset, value.output)
            return first if value == Entry(0) and isinstance(value, Entry) else value

        for call in part.calls:
            args, kwargs = (mapped(given, moved) for given in (list(call.args), dict(call.kwargs)))
            calls.append(PartCall(call.layer, tuple(args), kwargs))
        layers |= part.layers
        starts |= part.starts
        entering = moved(part.outputs[0])
    return Part(layers, tuple(calls), (entering,), starts)


def renamed(part: Part, names: Mapping[str, str]) -> Part:
    """Return a part whose new layers have other names."""
    calls = tuple(replace(call, layer=names.get(call.layer, call.layer)) for call in part.calls)
    layers = {names.get(name, name): config for name, config in part.layers.items()}
    starts = {names.get(name, name): start for name, start in part.starts.items()}
    return replace(part, layers=layers, calls=calls, starts=starts)


def with_entries(part: Part, entries: Sequence[Entry]) -> Part:
    """Return a part that begins at other places of a cut."""

    def moved(value: Any) -> Any:
        return entries[value.place] if isinstance(value, Entry) else value

    def of(call: Any) -> Any:
        args, kwargs = (mapped(given, moved) for given in (list(call.args), dict(call.kwargs)))
        return replace(call, args=tuple(args), kwargs=kwargs)

    return replace(part, calls=tuple(map(of, part.calls)), outputs=tuple(moved(source) for source in part.outputs))
