"""The edit of depth: a part of a network takes the place of another with the same ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from keras_struct.core.structure.tensors import TensorRef

StartKind = Literal["fresh", "identity", "zero", "copy", "values"]


@dataclass(frozen=True)
class Entry:
    """A tensor that a part reads from the network: the one at a place among those where it begins."""

    place: int = 0


@dataclass(frozen=True)
class Made:
    """A tensor that a call of the part puts out."""

    call: int
    output: int = 0


Source = Entry | Made


@dataclass(frozen=True)
class Start:
    """What the weights of a new layer hold.

    Attributes:
        kind: `"fresh"`, as its initializers say; `"identity"`, so that it returns what it is given; `"zero"`, so that it returns
            zeros; `"copy"`, those of another layer, with the state that the optimizer has of them; `"values"`, as given.
        layer: Path of the layer that is copied.
        values: Arrays by the name of the variable.
    """

    kind: StartKind = "fresh"
    layer: str | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class PartCall:
    """One call of a layer in a part.

    Attributes:
        layer: A key of `Part.layers` for a new layer; else the path of one that the network has.
        args: Positional arguments, with an `Entry` or a `Made` in place of each tensor.
        kwargs: Those by name.
    """

    layer: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A part of a network as data: its new layers, and how they and others are called.

    Attributes:
        layers: What `keras.saving.serialize_keras_object` returns for each new layer, by its name.
        calls: The calls, each behind those that it reads.
        outputs: What the part puts out; an `Entry` leads around it.
        starts: What the weights of new layers hold, by layer; fresh ones where nothing is said.
    """

    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calls: tuple[PartCall, ...] = ()
    outputs: tuple[Source, ...] = (Entry(0),)
    starts: Mapping[str, Start] = field(default_factory=dict)


@dataclass(frozen=True)
class Graft:
    """An edit that puts a part in the place of another one of a network, between tensors that stay.

    All that reads a tensor of `ends`, but the part itself, reads what the part puts out in its place. Calls that nothing reads
    any more go. Everything is data, so that edits can be compared, kept in a log and carried out again.

    Attributes:
        cut: Tensors where the part begins.
        ends: Tensors that its outputs take the place of.
        part: The part.
        title: What is done, for the log.

    Examples:
        >>> Graft((TensorRef("pool"),), (TensorRef("act"),), Part(), title="remove act")  # what read act reads pool
        <Graft: remove act; in the place of 'act'>
    """

    cut: tuple[TensorRef, ...]
    ends: tuple[TensorRef, ...]
    part: Part
    title: str = "graft"

    def __post_init__(self) -> None:
        if len(self.ends) != len(self.part.outputs):
            raise ValueError(
                f"A part must put out one tensor for each that it takes the place of: expected {len(self.ends)}. Received: "
                f"{len(self.part.outputs)}."
            )
        for number, call in enumerate(self.part.calls):
            self._check(call.layer, sources_in((call.args, dict(call.kwargs))), number)
        self._check("the outputs", self.part.outputs, len(self.part.calls))

    def _check(self, who: str, sources: Sequence[Source], calls: int) -> None:
        for source in sources:
            if isinstance(source, Entry) and not 0 <= source.place < len(self.cut):
                raise ValueError(f"{who} read {source}, but the part begins at {len(self.cut)} tensor(s).")
            if isinstance(source, Made) and not 0 <= source.call < calls:
                raise ValueError(
                    f"{who} read {source}, which is not made before. Calls must stand behind those they read."
                )

    def __repr__(self) -> str:
        places = ", ".join(map(str, self.ends))
        return f"<Graft: {self.title}; in the place of {places}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graft) and self._as_text(arrays=True) == other._as_text(arrays=True)

    def __hash__(self) -> int:
        return hash(self._as_text(arrays=False))

    def _as_text(self, arrays: bool) -> str:
        return json.dumps(self.to_config(arrays), sort_keys=True)

    def to_config(self, arrays: bool = False) -> dict[str, Any]:
        """Return the edit as JSON can hold it.

        Args:
            arrays: Include the values that new weights are given, as lists of numbers.
        """
        return {
            "cut": [_ref(ref) for ref in self.cut],
            "ends": [_ref(ref) for ref in self.ends],
            "title": self.title,
            "layers": dict(self.part.layers),
            "calls": [[c.layer, coded(list(c.args)), coded(dict(c.kwargs))] for c in self.part.calls],
            "outputs": [coded(source) for source in self.part.outputs],
            "starts": {name: _start(start, arrays) for name, start in self.part.starts.items()},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Graft:
        """Return the edit that `to_config` has described; weights whose values it left out are fresh."""
        calls = tuple(PartCall(layer, tuple(decoded(a)), decoded(k)) for layer, a, k in config["calls"])
        outputs = tuple(decoded(source) for source in config["outputs"])
        starts = {name: _started(start) for name, start in config["starts"].items()}
        cut, ends = (tuple(TensorRef(*ref) for ref in config[key]) for key in ("cut", "ends"))
        return cls(cut, ends, Part(dict(config["layers"]), calls, outputs, starts), config["title"])


def sources_in(structure: Any) -> list[Source]:
    """Return the tensors that arguments of a call stand for."""
    found: list[Source] = []
    mapped(structure, lambda leaf: found.append(leaf) if isinstance(leaf, Entry | Made) else None)
    return found


def mapped(structure: Any, function: Callable[[Any], Any]) -> Any:
    """Return lists, tuples and dictionaries in each other with what a function makes of the things in them."""
    if isinstance(structure, list | tuple):
        return type(structure)(mapped(item, function) for item in structure)
    if isinstance(structure, Mapping):
        return {key: mapped(item, function) for key, item in structure.items()}
    return function(structure)


def _ref(ref: TensorRef) -> list[Any]:
    return [ref.layer, ref.call, ref.output]


def coded(value: Any) -> Any:
    """Return arguments of a call as JSON can hold them; tensors are `Entry`, `Made` or `TensorRef`."""
    if isinstance(value, TensorRef):
        return {"tensor": _ref(value)}
    if isinstance(value, Entry):
        return {"entry": value.place}
    if isinstance(value, Made):
        return {"made": [value.call, value.output]}
    if isinstance(value, list):
        return [coded(item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [coded(item) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": {key: coded(item) for key, item in value.items()}}
    return {"value": _keras().serialize_keras_object(value)}


def decoded(given: Any) -> Any:
    """Return the arguments that `coded` has described."""
    if isinstance(given, list):
        return [decoded(item) for item in given]
    kind, held = next(iter(given.items()))
    if kind == "tensor":
        return TensorRef(*held)
    if kind == "entry":
        return Entry(held)
    if kind == "made":
        return Made(*held)
    if kind == "tuple":
        return tuple(decoded(item) for item in held)
    if kind == "dict":
        return {key: decoded(item) for key, item in held.items()}
    return _keras().deserialize_keras_object(held)


def _keras() -> Any:
    """What puts other arguments into words; policies are used without it."""
    import keras

    return keras.saving


def _start(start: Start, arrays: bool) -> dict[str, Any]:
    values = {name: [str(value.dtype), value.tolist()] for name, value in start.values.items()} if arrays else {}
    kind = start.kind if start.kind != "values" or arrays else "fresh"
    return {"kind": kind, "layer": start.layer, "values": values}


def _started(config: Mapping[str, Any]) -> Start:
    values = {name: np.asarray(value, dtype) for name, (dtype, value) in config["values"].items()}
    return Start(config["kind"], config["layer"], values)
