"""Every private attribute of Keras that the library touches, each pinned by a test in `tests/backend`."""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import StatelessScope
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell as _DropoutRNNCell
from keras.src.trainers.compile_utils import CompileLoss

CONV_LSTM_CELL = ConvLSTMCell
"""The cell of `keras.layers.ConvLSTM1D` and its kind."""
SCALED_SUM, LAYER_SCALE, STOCHASTIC_DEPTH = CustomScaleLayer, LayerScale, StochasticDepth
"""Layers that only `keras.applications` has."""
DropoutRNNCell: Any = _DropoutRNNCell
"""What `keras.layers.RNN` looks for in cells that leave out the same units in all steps of a sequence."""


def optimizer_of(model: Any) -> Any:
    """The optimizer of a model, or `None` before it is compiled."""
    return getattr(model, "optimizer", None)


def groups_of(layer: Any) -> int:
    """Into how many groups a convolution divides its channels; 1 for other layers."""
    return getattr(layer, "groups", 1)


def activation_of(layer: Any) -> Any:
    """The activation of a layer, or `None` if it has none."""
    return getattr(layer, "activation", None)


def functional_of(model: Any) -> Any:
    """Return the Functional network behind a Functional or Sequential model; `None` if it has none (yet).

    Raises:
        TypeError: If the model belongs to Keras 2.
    """
    _refuse_keras_2(model)
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_nodes_by_depth") else None


def nested_network(operation: Any) -> Any:
    """The Functional network behind a model that is called as a layer; `None` where there is none, or more than that is run."""
    if not isinstance(operation, keras.Model) or has_own_call(operation):
        return None
    return functional_of(operation)


def has_own_call(model: Any) -> bool:
    """Whether a user's class of models says itself what a call computes, so that the graph of layers does not tell."""
    kinds = type(model).__mro__
    owners = [next((kind for kind in kinds if name in vars(kind)), object) for name in ("call", "__call__")]
    return not all(is_library_class(kind) for kind in owners)


def _refuse_keras_2(model: Any) -> None:
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "tf_keras" in packages:
        raise TypeError(
            f"Received the model '{model.name}' of tf_keras, which is Keras 2: expected one of Keras {keras.__version__}. "
            "Build the same network with `keras` in place of `tf_keras`, and give it the weights: "
            "new.set_weights(old.get_weights())."
        )


def structured_ends(model: Any) -> tuple[Any, Any]:
    """Inputs and outputs of a Functional or Sequential model, in the structure in which it takes and returns them."""
    functional = functional_of(model)
    return functional._inputs_struct, functional._outputs_struct


def nodes_in_order(functional: Any) -> Iterator[Any]:
    """Calls of operations in an order in which they can be run, that of `layers` where several can. Input layers are left out."""
    place = {id(operation): i for i, operation in enumerate(functional.operations)}
    for depth in sorted(functional._nodes_by_depth, reverse=True):
        for node in sorted(functional._nodes_by_depth[depth], key=lambda node: place.get(id(node.operation), 0)):
            if not node.is_input:
                yield node


def node_tensors(node: Any) -> tuple[list[Any], list[Any]]:
    """Symbolic tensors that go into and come out of a call."""
    return list(node.input_tensors), list(node.output_tensors)


def calls_around(operation: Any) -> list[Any]:
    """Calls of an operation, and calls that read what it makes, in whatever models."""
    return [*operation._inbound_nodes, *operation._outbound_nodes]


def made_by(tensor: Any) -> tuple[Any, Any]:
    """The operation that makes a symbolic tensor, and the call of it."""
    operation, place, _ = tensor._keras_history
    return operation, operation._inbound_nodes[place]


def extra_arguments(node: Any) -> bool:
    """Whether a call passes a tensor beside the layer's inputs and its mask, by keyword."""
    named = {name: value for name, value in node.arguments.kwargs.items() if name != "mask"}
    return any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten(named))


def passed_variables(node: Any) -> list[Any]:
    """Variables that a call passes to an operation of `keras.ops`."""
    if isinstance(node.operation, keras.layers.Layer):
        return []
    return [value for value in call_arguments(node) if isinstance(value, keras.Variable)]


def call_arguments(node: Any) -> list[Any]:
    """Everything that a call passes, symbolic tensors and others, in order."""
    return keras.tree.flatten((node.arguments.args, dict(node.arguments.kwargs)))


def set_symbolic_shape(tensor: Any, shape: tuple[int | None, ...]) -> None:
    """Give a symbolic tensor the shape that it has after an edit."""
    tensor._shape = tuple(shape)


def follow_input_shape(symbol: Any) -> None:
    """Give the input layer of a nested model, if `symbol` is what it stands for, the shape that the tensor has now."""
    layer = symbol._keras_history.operation if hasattr(symbol, "_keras_history") else None
    if isinstance(layer, keras.layers.InputLayer) and layer._batch_shape != tuple(symbol.shape):
        layer._batch_shape = tuple(symbol.shape)


def build_shapes(layer: Any) -> dict[str, Any] | None:
    """Shapes that a layer was built with, as it will save them."""
    return getattr(layer, "_build_shapes_dict", None)


def set_build_shapes(layer: Any, shapes: dict[str, Any]) -> None:
    """Replace recorded build shapes of a layer, by the name of the argument of `build`."""
    object.__setattr__(layer, "_build_shapes_dict", shapes)  # Keras would look for variables in them


def is_adapted(layer: Any) -> bool:
    """Whether a layer computes with more, or with coarser, weights than those that it was made with: LoRA, quantisation."""
    return bool(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None))


def is_stock(layer: Any) -> bool:
    """Whether a layer and all layers inside it are of Keras's own classes."""
    kinds = (SCALED_SUM, LAYER_SCALE, STOCHASTIC_DEPTH)
    own = [layer, *inner_layers(layer)] if isinstance(layer, keras.layers.Layer) else []
    stock = (getattr(keras.layers, type(part).__name__, None) is type(part) or type(part) in kinds for part in own)
    return all(stock)


def is_library_class(kind: type) -> bool:
    """Whether a class is Keras's, a backend's, or this library's."""
    return kind.__module__.partition(".")[0] in (
        "keras",
        "keras_struct",
        "builtins",
        "tensorflow",
        "torch",
        "jax",
        "flax",
    )


def constructor_takes_ends(kind: type) -> bool:
    """Whether a class of models is made of inputs and outputs, as `keras.Model` is."""
    parameters = inspect.signature(kind).parameters
    free = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    return free or {"inputs", "outputs"} <= set(parameters)


def own_variables(layer: Any, states: bool = True) -> dict[str, Any]:
    """Variables of a layer by name; those of layers inside it behind their names. None for a bare operation.

    With `states`, those that a recurrent layer carries from batch to batch, which Keras does not count, are among them.
    """
    if not isinstance(layer, keras.layers.Layer):
        return {}
    held = (*layer._trainable_variables, *layer._non_trainable_variables)
    if not layer._layers and not isinstance(layer, keras.layers.RNN):
        return {variable.name: variable for variable in held}
    inside = {
        f"{inner.name}/{name}": variable
        for inner in layer._layers
        for name, variable in own_variables(inner, states).items()
    }
    borrowed = set(map(id, inside.values()))
    carried = {f"states/{place}": variable for place, variable in enumerate(states_of(layer) if states else ())}
    return {**{variable.name: variable for variable in held if id(variable) not in borrowed}, **inside, **carried}


def shapes_by_config(layer: Any) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the variables that a layer would have if it were made of its configuration; `None` if that cannot be done.

    The variables get no values, so that nothing large is allocated or drawn.
    """
    state = random.getstate()
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    before = len(waiting)
    try:
        with StatelessScope(initialize_variables=False):
            twin = type(layer).from_config(layer.get_config())
            if (built := layer.get_build_config()) is not None:
                twin.build_from_config(built)
        shapes = {path: shape_of(variable) for path, variable in own_variables(twin, states=False).items()}
        return shapes if twin.built else None
    except Exception:  # whatever a layer's own constructor raises
        return None
    finally:
        del waiting[before:]
        random.setstate(state)  # initializers draw their seeds of it


def set_fact(layer: Any, attribute: str, value: Any) -> None:
    """Set an attribute of a layer, and the argument of that name and number that Keras keeps for where there is no get_config."""
    old, kept = getattr(layer, attribute, None), getattr(layer, "_auto_config", None)
    if isinstance(value, int | tuple):
        object.__setattr__(layer, attribute, value)  # Keras would look for variables in it
    else:
        setattr(layer, attribute, value)
    if kept is not None and isinstance(old, int) and kept.config.get(attribute) == old:
        kept.config[attribute] = value


def states_of(layer: Any) -> list[Any]:
    """Variables in which a stateful recurrent layer carries its states from batch to batch."""
    if not isinstance(layer, keras.layers.RNN) or not layer.stateful or layer.states is None:
        return []
    return keras.tree.flatten(layer.states)


@contextmanager
def keeping_states(layers: Iterable[Any]) -> Iterator[None]:
    """Leave the states that recurrent layers carry from batch to batch as they are, whatever is run."""
    carried = [variable for layer in layers for part in (layer, *inner_layers(layer)) for variable in states_of(part)]
    before = [keras.ops.convert_to_numpy(variable.value) for variable in carried]
    try:
        yield
    finally:
        for variable, value in zip(carried, before, strict=True):
            variable.assign(value)


def inner_layers(layer: Any) -> list[Any]:
    """Layers inside a layer, at any depth."""
    if not isinstance(layer, keras.layers.Layer):
        return []
    return [found for inner in layer._layers for found in (inner, *inner_layers(inner))]


class BuiltByNetwork:
    """For models that train a `network` on other batches than it takes: Keras does not try these out before the first step.

    Loss and metrics are built for what the network puts out. Where it is not Functional they are built in the first step,
    which TensorFlow then traces twice, as variables were made in it.
    """

    network: Any
    _compile_metrics: Any
    _compile_loss: Any

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build loss and metrics for a batch."""
        parts = [part for part in (self._compile_metrics, self._compile_loss) if part is not None and not part.built]
        if not parts or functional_of(self.network) is None:
            return
        if data_batch is None:
            _, _, data = next(iter(iterator))
            data_batch = data[0] if isinstance(data, (list, tuple)) else next(data)
        outputs = structured_ends(self.network)[1]
        samples = keras.tree.flatten(outputs)[0].shape[0]

        def symbolic(array: Any) -> Any:
            return keras.KerasTensor((samples, *array.shape[1:]), keras.backend.standardize_dtype(array.dtype))

        targets = keras.tree.map_structure(symbolic, keras.utils.unpack_x_y_sample_weight(data_batch)[1])
        for part in parts:
            part.build(targets, outputs)

    _maybe_symbolic_build = _symbolic_build


def carried_states(layer: Any) -> list[Any]:
    """Variables in which stateful recurrent layers inside a layer carry states from batch to batch."""
    return [
        variable
        for inner in inner_layers(layer)
        if getattr(inner, "stateful", False) is True and getattr(inner, "states", None) is not None
        for variable in keras.tree.flatten(inner.states)
    ]


def inner_layer(layer: Any, names: Sequence[str]) -> Any:
    """A layer inside a layer, by the names on the way to it; `None` if there is none."""
    for name in names:
        layer = next((inner for inner in getattr(layer, "_layers", ()) if inner.name == name), None)
    return layer


def loosen_spec(layer: Any) -> None:
    """Let a layer accept inputs of any extents."""
    spec = getattr(layer, "input_spec", None)
    if isinstance(spec, keras.layers.InputSpec) and spec.axes:
        layer.input_spec = keras.layers.InputSpec(ndim=spec.ndim, min_ndim=spec.min_ndim, dtype=spec.dtype)


def argument_names(node: Any) -> list[str]:
    """For each symbolic tensor that enters a call, the parameter that it is passed for."""
    parameters = list(inspect.signature(node.operation.call).parameters)
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    names = [keras.tree.map_structure(lambda _, n=n: n, part) for n, part in zip(parameters, args, strict=False)]
    named = {key: keras.tree.map_structure(lambda _, key=key: key, part) for key, part in kwargs.items()}
    pairs = zip(keras.tree.flatten((names, named)), keras.tree.flatten((list(args), kwargs)), strict=True)
    return [name for name, value in pairs if isinstance(value, keras.KerasTensor)]


def set_operation_argument(operation: Any, name: str, value: Any) -> None:
    """Give an operation of `keras.ops` another argument, also in what it will save."""
    object.__setattr__(operation, name, value)
    config = getattr(getattr(operation, "_auto_config", None), "config", None)
    if config is not None and name in config:
        config[name] = keras.saving.serialize_keras_object(value)


def holder(variable: Any) -> Any:
    """The object of the backend in which a variable keeps its value."""
    return variable._value


def put_back(variable: Any, held: Any) -> None:
    """Let a variable keep its value in an object in which it did before."""
    variable._value = held


def shape_of(variable: Any) -> tuple[int, ...]:
    """The present shape of a variable, also while a function is traced."""
    return variable._shape


def in_layer_call() -> bool:
    """Whether a layer is being called."""
    return global_state.get_global_attribute("current_call_ctx") is not None


def set_shape(variable: Any, shape: tuple[int, ...]) -> None:
    """Tell a Keras variable its shape."""
    variable._shape = tuple(map(int, shape))


def forget_compiled_functions(model: Any) -> None:
    """Have `fit`, `evaluate` and `predict` trace their steps anew, also in the middle of a running `fit`."""
    training = getattr(model, "train_function", None) is not None
    model.train_function = model.test_function = model.predict_function = None
    if training:
        model.make_train_function()


def start_at_epoch(model: Any, epoch: int) -> None:
    """Let a `fit` that is about to begin start at an epoch, as `BackupAndRestore` does."""
    model._initial_epoch = epoch


def rekey_optimizer(optimizer: Any) -> None:
    """Tell an optimizer that the values behind its variables were replaced."""
    for opt in optimizer_chain(optimizer):
        if getattr(opt, "_trainable_variables", None):
            old = {index: key for key, index in opt._trainable_variables_indices.items()}
            indices = {opt._var_key(variable): i for i, variable in enumerate(opt._trainable_variables)}
            opt._trainable_variables_indices = indices
            _rekey_exclusions(opt, {old[index]: key for key, index in indices.items()})


def _rekey_exclusions(optimizer: Any, keys: dict[Any, Any]) -> None:
    """Keep variables that have no weight decay without it, under their new keys."""
    if excluded := getattr(optimizer, "_exclude_from_weight_decay", None):
        optimizer._exclude_from_weight_decay = {keys.get(key, key) for key in excluded}
    optimizer._exclude_from_weight_decay_cache = {}


def copy_exclusions(source: Any, target: Any) -> None:
    """Exclude from weight decay, in an optimizer built for a copy of a model, what the model's own excludes."""
    for old, new in zip(optimizer_chain(source), optimizer_chain(target), strict=True):
        excluded = getattr(old, "_exclude_from_weight_decay", None) or set()
        places = {i for key, i in old._trainable_variables_indices.items() if key in excluded}
        new._exclude_from_weight_decay = {key for key, i in new._trainable_variables_indices.items() if i in places}
        new._exclude_from_weight_decay_pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)
        new._exclude_from_weight_decay_cache = {}


def compile_arguments(model: Any) -> dict[str, Any]:
    """Arguments that a model was compiled with, as they were given."""
    return dict(model._compile_config.config)


def optimizer_chain(optimizer: Any) -> list[Any]:
    """An optimizer and the one it wraps, if it does (`LossScaleOptimizer`)."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, inner]


def trained_by(optimizer: Any) -> Any:
    """The list of variables that a built optimizer was built for."""
    return getattr(optimizer_chain(optimizer)[-1], "_trainable_variables", ())


def has_shaped_state(optimizer: Any) -> bool:
    """Whether what an optimizer keeps for a weight has the shape of the weight."""
    last = optimizer_chain(optimizer)[-1]
    return type(last).__name__ not in ("Adafactor", "MultiOptimizer") and hasattr(last, "_trainable_variables")


def needs_static_shapes(optimizer: Any) -> bool:
    """Whether an optimizer looks at the shapes of weights while its step is traced."""
    return any(isinstance(opt, keras.optimizers.Muon) for opt in optimizer_chain(optimizer))


def optimizer_of_the_same_kind(optimizer: Any) -> Any:
    """A fresh optimizer with the arguments of another, which may have a function as its learning rate."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = optimizer_of_the_same_kind(optimizer.inner_optimizer)
        return type(optimizer)(**{**optimizer.get_config(), "inner_optimizer": inner})
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable | keras.optimizers.schedules.LearningRateSchedule) or not callable(rate):
        return type(optimizer).from_config(optimizer.get_config())
    object.__setattr__(optimizer, "_learning_rate", None)  # functions cannot always be put into a configuration
    try:
        config = optimizer.get_config()
    finally:
        object.__setattr__(optimizer, "_learning_rate", rate)
    return type(optimizer).from_config({**config, "learning_rate": rate})


def filled_arguments(node: Any, values: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call with its symbolic tensors replaced, by their `id`."""
    args, kwargs = node.arguments.fill_in(values)
    return list(args), dict(kwargs)


def takes_training(operation: Any) -> bool:
    """Whether a layer's `call` has a `training` argument."""
    return bool(getattr(operation, "_call_has_training_arg", False))


def loss_function(model: Any) -> Any:
    """What `fit` minimises, as a function of inputs, targets, outputs and sample weights; `None` without a loss.

    A model with a `compute_loss` of its own is asked for it. Otherwise the losses given to `compile` are put together
    anew, so that no metric of the model sees the batch.
    """
    if type(model).compute_loss is not _plain_compute_loss(model):
        return lambda x, y, outputs, weights: model.compute_loss(x, y, outputs, weights, training=False)
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    if not config or config.get("loss") is None:
        return None
    combined = CompileLoss(config["loss"], config.get("loss_weights"), output_names=functional_of(model).output_names)
    return lambda x, y, outputs, weights: combined(y, outputs, weights)


def _plain_compute_loss(model: Any) -> Any:
    return next(kind for kind in type(model).__mro__ if kind is keras.Model).compute_loss


@contextmanager
def without_activation(layer: Any) -> Iterator[None]:
    """Let a layer compute without its activation."""
    activation = layer.activation
    object.__setattr__(layer, "activation", None)
    try:
        yield
    finally:
        object.__setattr__(layer, "activation", activation)
