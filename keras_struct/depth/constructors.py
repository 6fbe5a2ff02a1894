"""Edits of depth, made from what is to be done."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Literal

import keras

from keras_struct.core.structure.tensors import TensorRef
from keras_struct.depth.block import Block, last_with_weights
from keras_struct.depth.copies import check_one_of
from keras_struct.depth.edits import Entry, Graft, Made, Part, PartCall, Source, Start
from keras_struct.depth.layers import Gate
from keras_struct.depth.parts import names_for, part_of, serialized

Place = str | TensorRef
Merge = Literal["add", "average", "concatenate", "multiply", "maximum"]
Init = Literal["identity", "fresh"]


def insert(layer: Any, after: Place, init: Init = "identity", taken: Collection[str] = ()) -> Graft:
    """Return the edit that puts a layer, or several behind each other, behind a tensor.

    Args:
        layer: A layer, a list of layers or a Functional model. Layers that are built bring their weights along.
        after: The layer behind which it is put, by its path; `TensorRef(layer, call, output)` where that has several outputs or
            is called several times.
        init: `"identity"`, so that the network computes what it did (see the guide for which layers have one), or `"fresh"`, with
            weights as the initializers of the layers say. Weights of built layers stay either way.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If it is no layer.
        ValueError: If `init` is unknown.
    """
    check_one_of("init", init, ("identity", "fresh"))
    part, ref = part_of(layer, taken), _ref(after)
    if init == "identity":
        part = dataclasses.replace(part, starts={name: Start("identity") for name in part.layers} | dict(part.starts))
    return Graft((ref,), (ref,), part, f"insert {_named(part)}")


def insert_block(
    layers: Any,
    after: Place,
    init: Init = "identity",
    gate: bool = False,
    name: str | None = None,
    taken: Collection[str] = (),
) -> Graft:
    """Return the edit that puts a residual block `x + f(x)` behind a tensor.

    Args:
        layers: The layers of f, as in `insert`; it must return the shape of what enters.
        after: The layer behind which it is put.
        init: `"identity"`, so that f returns zeros at first: its last layer with weights starts at zero; or `"fresh"`.
        gate: Whether f is multiplied by a number that is trained, from 0 on; the layers of f start as initializers say.
        name: Name of the layer that adds, which ends the block.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If something is no layer.
        ValueError: If f has no layer that can start at zero.
    """
    ref = _ref(after)
    return _parallel(layers, ref, ref, "add", init, gate, name, taken, "insert block")


def branch(
    start: Place,
    end: Place,
    layers: Any = (),
    merge: Merge = "add",
    init: Init = "identity",
    gate: bool = False,
    name: str | None = None,
    taken: Collection[str] = (),
) -> Graft:
    """Return the edit that adds a path from one tensor to another beside what leads there: `merge(end, f(start))`.

    Args:
        start: The layer whose output enters f.
        end: The layer whose output is merged with what f returns; all behind it reads the result.
        layers: The layers of f; none for a skip connection.
        merge: How the two are merged: `"add"`, `"average"`, `"maximum"`, `"multiply"`, by the layers of these names.
        init: `"identity"`, so that the network computes what it did: f returns zeros at first, which needs `"add"`; or `"fresh"`.
        gate: Whether f is multiplied by a number that is trained, from 0 on.
        name: Name of the layer that merges.
        taken: Names of layers that the network has.

    Raises:
        TypeError: If something is no layer.
        ValueError: If `merge` is unknown, or f has no layer that can start at zero.
    """
    return _parallel(layers, _ref(start), _ref(end), merge, init, gate, name, taken, "branch")


def replace(block: Block, layers: Any, init: Init = "fresh", taken: Collection[str] = ()) -> Graft:
    """Return the edit that puts other layers in the place of a block.

    Args:
        block: One of `model.blocks`.
        layers: As in `insert`; they must return the shape of what leaves the block.
        init: `"fresh"`, or `"identity"` where layers have one.
        taken: Names of layers that the network has.
    """
    graft = insert(layers, block.entry, init, taken)
    return dataclasses.replace(graft, ends=(block.exit,), title=f"replace {block.name} by {_named(graft.part)}")


def _parallel(
    layers: Any,
    start: TensorRef,
    end: TensorRef,
    merge: str,
    init: str,
    gate: bool,
    name: str | None,
    taken: Collection[str],
    title: str,
) -> Graft:
    check_one_of("init", init, ("identity", "fresh"))
    check_one_of("merge", merge, tuple(_MERGES))
    part = part_of(layers, taken)
    starts = dict(part.starts)
    if init == "identity" or gate:
        if merge != "add":
            raise ValueError(
                f'With merge="{merge}" a path of zeros changes what the network computes: expected merge="add", or init="fresh".'
            )
        if not gate:
            starts[last_with_weights(part, part.outputs[0])] = Start("zero")
    calls, configs = list(part.calls), dict(part.layers)
    result: Source = part.outputs[0]
    if gate:
        (key,) = names_for(["gate"], {*taken, *configs})
        configs[key] = _of_the_network(Gate())
        calls.append(PartCall(key, (result,)))
        result = Made(len(calls) - 1)
    merging = _MERGES[merge](name=name)
    (key,) = names_for([name or f"{_last_name(part, start)}_{merge}"], {*taken, *configs}, [merging] if name else ())
    configs[key] = _of_the_network(merging)
    other: Source = Entry(0) if start == end else Entry(1)
    calls.append(PartCall(key, ([other, result],)))
    cut = (start,) if start == end else (start, end)
    return Graft(cut, (end,), Part(configs, tuple(calls), (Made(len(calls) - 1),), starts), f"{title} {key}")


_MERGES = {
    "add": keras.layers.Add,
    "average": keras.layers.Average,
    "multiply": keras.layers.Multiply,
    "maximum": keras.layers.Maximum,
}


def _of_the_network(layer: Any) -> dict[str, Any]:
    """The configuration of a layer that gets the dtype policy of the layers around it."""
    config = serialized(layer)
    return {**config, "config": {**config["config"], "dtype": None}}


def _ref(place: Place) -> TensorRef:
    return place if isinstance(place, TensorRef) else TensorRef(place)


def _named(part: Part) -> str:
    return ", ".join(part.layers) or "nothing"


def _last_name(part: Part, start: TensorRef) -> str:
    return part.calls[-1].layer if part.calls else start.layer.rpartition("/")[2]
