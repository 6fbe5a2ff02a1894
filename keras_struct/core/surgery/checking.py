"""Try out layers of the user's own before an edit is written: will they do with their new units what their rules say?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.backend.trials import as_planned, built_with
from keras_struct.core.structure.graph import Call
from keras_struct.core.surgery.build_shapes import planned_build_shapes
from keras_struct.core.surgery.misfits import Trial, refusal
from keras_struct.core.surgery.trace import Network

if TYPE_CHECKING:
    from keras_struct.core.surgery.plan import Plan


def check_layers(network: Network, planned: Plan) -> None:
    """Try layers that are neither Keras's nor ours, and that an edit touches, as it would leave them. Nothing is written.

    Each is called on zeros, and made again of its configuration, as when it is loaded: its output and its variables must have
    the shapes that its unit rules let expect.

    Args:
        network: The network before the edit.
        planned: What the edit will write.

    Raises:
        ValueError: If a layer fails, or has other shapes; the message says which rule is wrong, and what it should be.
    """
    before, after = network.graph, planned.graph
    touched = {port.layer for port in planned.changes}
    for call, changed in zip(before.calls, after.calls, strict=True) if after is not before else ():
        layer = network.layers[call.layer]
        around = (*call.inputs, *changed.outputs) if _is_own(layer) else ()
        if (around and call.layer in touched) or any(before.tensors[n].shape != after.tensors[n].shape for n in around):
            _check(network, planned, call, layer)


def _is_own(layer: Any) -> bool:
    """Whether a layer is of the user's own, or around one that is."""
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    return isinstance(layer, keras.layers.Layer) and not internals.is_library_class(type(layer))


def _check(network: Network, planned: Plan, call: Call, layer: Any) -> None:
    shapes = planned_build_shapes(network, planned.graph, call.layer)
    with as_planned(layer, planned.writes, planned.facts), built_with(shapes):
        held = {p: internals.shape_of(v) for p, v in internals.own_variables(layer, states=False).items()}
        wanted = internals.shapes_by_config(layer) or {}
        failure = _failure(network, planned, call, layer)
        wrong = [path for path, shape in held.items() if wanted.get(path, shape) != shape]
        if failure or wrong:
            raise ValueError(refusal(Trial(network, planned.graph, call, held, wanted, failure)))


def _failure(network: Network, planned: Plan, call: Call, layer: Any) -> str | None:
    """How a call on zeros goes wrong; `None` if it does not, or an extent of its inputs is not known."""
    shapes = [planned.graph.tensors[n].shape for n in call.inputs]
    if any(None in shape for shape in shapes):
        return None
    node = network.nodes[call]
    symbols = internals.node_tensors(node)[0]
    zeros = {id(s): keras.ops.zeros((s.shape[0] or 2, *e), s.dtype) for s, e in zip(symbols, shapes, strict=True)}
    args, kwargs = internals.filled_arguments(node, zeros)
    if internals.takes_training(layer):
        kwargs["training"] = False
    expected = [tuple(planned.graph.tensors[n].shape) for n in call.outputs]
    try:
        found = [tuple(y.shape)[1:] for y in keras.tree.flatten(layer(*args, **kwargs))]
    except Exception as error:  # whatever a layer's own call raises
        return f"its call fails: {_cause(error)}"
    return None if found == expected else f"it outputs {found} where {expected} is expected."


def _cause(error: Exception) -> str:
    """What went wrong in a call, without the frame and the colours that Keras puts around it."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in str(error).splitlines()]
    told = (line for line in lines if line and not line.startswith("Exception encountered when calling"))
    return next(told, type(error).__name__)
