"""How edits of depth are carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.layer_copies import copied, copy_state
from keras_struct.core.surgery.call_edits import CallEditKind
from keras_struct.core.surgery.edit_kinds import register_edit
from keras_struct.core.surgery.graph_change import GraphChange
from keras_struct.depth.edits import Entry, Graft, Made, Source, Start, mapped
from keras_struct.depth.identities import identity_weights, zero_weights


class Grafting(CallEditKind[Graft]):
    """Edits of depth."""

    edit = Graft

    def connect(self, change: GraphChange, edit: Graft) -> None:
        """Call the layers of the part, and let what read its ends read what they put out."""
        _check_places(change, edit)
        network = change.network((*edit.cut, *edit.ends)[0].layer)
        prefix = (*edit.cut, *edit.ends)[0].layer.rpartition("/")[0]
        cut, ends = ([change.tensor(ref) for ref in refs] for refs in (edit.cut, edit.ends))
        new: dict[str, Any] = {}
        made: list[list[Any]] = []

        def tensor(source: Source) -> Any:
            return cut[source.place] if isinstance(source, Entry) else made[source.call][source.output]

        for call in edit.part.calls:
            fresh = call.layer in edit.part.layers and call.layer not in new
            if fresh:
                new[call.layer] = self._made(change, edit, call.layer)
            layer = new.get(call.layer) or change.layer(f"{prefix}/{call.layer}" if prefix else call.layer)
            args, kwargs = (_filled(given, tensor) for given in (list(call.args), dict(call.kwargs)))
            made.append(_called(change, layer, args, kwargs))
            if fresh:
                _give_weights(change, layer, edit.part.starts.get(call.layer, Start()), (args, kwargs))
        for end, source in zip(ends, edit.part.outputs, strict=True):
            change.replace(network, end, tensor(source))

    def name(self, edit: Graft) -> str:
        """Return the layer whose output the part takes the place of."""
        return edit.ends[0].layer if edit.ends else edit.cut[0].layer

    def detail(self, edit: Graft) -> str:
        """Return what is done."""
        return edit.title

    def _made(self, change: GraphChange, edit: Graft, name: str) -> Any:
        start = edit.part.starts.get(name, Start())
        if start.kind == "copy" and start.layer is not None:
            return copied(change.layer(start.layer), name=name)
        config = edit.part.layers[name]
        arguments = {**config["config"], "name": name}
        if "dtype" in arguments and arguments["dtype"] is None:
            arguments["dtype"] = _policy_at(change.tensor(edit.cut[0]))
        return layer_from({**config, "config": arguments}, name)


register_edit(Grafting())


def layer_from(config: Mapping[str, Any], name: str) -> Any:
    """Return a layer or operation as its configuration says, under a name.

    Raises:
        ValueError: If that is not possible here.
    """
    try:
        return keras.saving.deserialize_keras_object({**config, "config": {**config["config"], "name": name}})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Layer '{name}' cannot be made from its configuration ({_first_line(error)}). Give its class a get_config that "
            "returns the arguments of its constructor, and register it with @keras.saving.register_keras_serializable()."
        ) from error


def _check_places(change: GraphChange, edit: Graft) -> None:
    """Raise unless all tensors that the edit names belong to one model, and new layers have new names."""
    inside = {ref.layer.rpartition("/")[0] for ref in (*edit.cut, *edit.ends)}
    if len(inside) > 1:
        raise ValueError(f"The ends of a part must lie in one model. Received ends in {sorted(map(repr, inside))}.")
    network = change.network((*edit.cut, *edit.ends)[0].layer)
    taken = {operation.name for operation in internals.operations_of(network)}
    if twice := sorted(taken & set(edit.part.layers)):
        raise ValueError(
            f"Layers named {twice} exist in '{network.name}' already: expected new names. Give the new layers others."
        )


def _policy_at(tensor: Any) -> Any:
    """The dtype policy of the layer that makes a tensor: for layers of which no other is known."""
    maker = internals.made_by(tensor)[0]
    if isinstance(maker, keras.layers.Layer):
        return maker.dtype_policy
    usual = keras.config.dtype_policy()
    half = f"mixed_{tensor.dtype}" if tensor.dtype in ("float16", "bfloat16") else tensor.dtype
    return usual if usual.compute_dtype == tensor.dtype else half


def _called(change: GraphChange, layer: Any, args: Any, kwargs: Any) -> list[Any]:
    try:
        return change.call(layer, args, kwargs)
    except (TypeError, ValueError) as error:
        given = ", ".join(str(x.shape) for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor))
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) does not fit where it is put: it is called on {given}. Keras says: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _filled(structure: Any, tensor: Any) -> Any:
    return mapped(structure, lambda leaf: tensor(leaf) if isinstance(leaf, Entry | Made) else leaf)


def _give_weights(change: GraphChange, layer: Any, start: Start, given: Any) -> None:
    """Give a new layer the weights that it starts with."""
    if start.kind == "copy" and start.layer is not None:
        source = change.layer(start.layer)
        copy_state(source, layer)
        held = internals.own_variables(source)
        change.copied |= {id(new): held[name] for name, new in internals.own_variables(layer).items() if name in held}
    elif start.kind == "identity":
        tensors = [x for x in keras.tree.flatten(given) if isinstance(x, keras.KerasTensor)]
        _assign(layer, identity_weights(layer, tensors[0] if tensors else None))
    elif start.kind == "zero":
        _assign(layer, zero_weights(layer))
    elif start.kind == "values":
        _assign(layer, start.values)


def _assign(layer: Any, values: Mapping[str, np.ndarray]) -> None:
    held = internals.own_variables(layer)
    for name, value in values.items():
        if name not in held or tuple(held[name].shape) != np.shape(value):
            known = {name: tuple(variable.shape) for name, variable in held.items()}
            raise ValueError(
                f"Layer '{layer.name}' cannot take values of shape {np.shape(value)} for '{name}': expected {known}."
            )
        current().write(held[name], np.asarray(value))
