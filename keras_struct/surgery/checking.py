"""Try out layers of the user's own after an edit: do they do with their new units what their rules say?"""

from __future__ import annotations

import re
from typing import Any

import keras

from keras_struct.backend import keras_internals as internals
from keras_struct.structure.graph import StructureGraph
from keras_struct.surgery.trace import Network

_KNOWN = ("keras", "keras_struct")


def check_calls(network: Network, before: StructureGraph) -> None:
    """Call layers that are neither Keras's nor ours, and around which shapes changed, on zeros. Nothing is written.

    Args:
        network: The network after the edit.
        before: Its graph before.

    Raises:
        ValueError: If such a layer fails, or puts out another shape than its unit rules let expect.
    """
    for call in network.graph.calls:
        layer = network.layers[call.layer]
        if not isinstance(layer, keras.layers.Layer) or type(layer).__module__.partition(".")[0] in _KNOWN:
            continue
        around = (*call.inputs, *call.outputs)
        if all(before.tensors[n].shape == network.graph.tensors[n].shape for n in around):
            continue
        if all(None not in network.graph.tensors[n].shape for n in call.inputs):
            _check(network, call, layer)
        _check_config(call.layer, layer)


def _check_config(name: str, layer: Any) -> None:
    """Refuse an edit after which a layer could not be loaded: made of its configuration, it would have other shapes.

    Raises:
        ValueError: If so; a layer that cannot be made of its configuration at all is left to who saves it.
    """
    if (wanted := internals.shapes_by_config(layer)) is None:
        return
    held = {
        path: internals.shape_of(variable) for path, variable in internals.own_variables(layer, states=False).items()
    }
    wrong = [path for path, shape in held.items() if path in wanted and wanted[path] != shape]
    if wrong:
        path = wrong[0]
        raise ValueError(
            f"Cannot carry out the edit: layer '{name}' ({type(layer).__name__}) could not be loaded after it. Made of its "
            f"configuration, its '{path}' has shape {wanted[path]}, and the edit gives it {held[path]}. Say in the unit rule "
            f"which attribute holds the number of units, AxisRule('{path}', ..., size='units'), and have get_config return that "
            "attribute."
        )


def _cause(error: Exception) -> str:
    """What went wrong in a call, without the frame and the colours that Keras puts around it."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    told = (line for line in lines if line and not line.startswith("Exception encountered when calling"))
    return next(told, type(error).__name__)


def _check(network: Network, call: Any, layer: Any) -> None:
    node = network.nodes[call]
    symbols = internals.node_tensors(node)[0]
    zeros = {
        id(s): keras.ops.zeros((s.shape[0] or 2, *network.graph.tensors[n].shape), s.dtype)
        for s, n in zip(symbols, call.inputs, strict=True)
    }
    args, kwargs = internals.filled_arguments(node, zeros)
    if internals.takes_training(layer):
        kwargs["training"] = False
    wanted = [tuple(network.graph.tensors[n].shape) for n in call.outputs]
    why = f"layer '{call.layer}' ({type(layer).__name__}) does not do with it what its unit rules say"
    remedy = (
        "Correct its unit rules: variables whose axes must keep the same extent need a rule for each of these axes."
    )
    try:
        with keras.StatelessScope():
            found = [tuple(y.shape)[1:] for y in keras.tree.flatten(layer(*args, **kwargs))]
    except Exception as error:
        raise ValueError(f"Cannot carry out the edit: {why}; its call fails: {_cause(error)} {remedy}") from error
    if found != wanted:
        raise ValueError(f"Cannot carry out the edit: {why}: it puts out {found} where {wanted} is expected. {remedy}")
