"""A hidden block without layers: any neuron may feed any later one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_struct.activations import threshold_of_activity
from keras_struct.core.structure.arguments import whole_number
from keras_struct.core.structure.rules import AxisRule
from keras_struct.freenets.acyclic import checked_adjacency, in_order, levels_of, schedule_for
from keras_struct.freenets.embedding import embedding_of
from keras_struct.freenets.forward_substitution import substituted, substituted_by_levels
from keras_struct.sparse.layers import Dormant, Masked, MaskedDense
from keras_struct.units.growable import checked_limit


@keras.saving.register_keras_serializable("keras_struct")
class FreeNet(Masked, keras.layers.Layer):
    """Neurons in an order, each of which may read all inputs and all neurons before it.

    a_j = f(x · E_j + b_j + Σ_{i<j} L_{ji} a_i), for the edges i → j that there are. The decoder is the Dense layer behind it.
    Edges are edited like the connections of `MaskedDense`, by `keras_struct.Rewire` and by strategies such as `FreeEvolve`; units
    like those of `GrowableDense`: new neurons come last and read all that were there before, one that is removed takes its edges
    along.

    Neurons are computed by forward substitution, a block at a time, which is exact for every graph and compiled once. Where the
    longest path of a graph is short, no more than an eighth of all neurons, they are computed level by level instead; edits that
    change this have the training step compiled again.

    Args:
        neurons: Positive integer, the number of neurons to start with.
        activation: Of each neuron, a name or a function.
        adjacency: Edges to start with, `(neurons, neurons)`, 1 at (j, i) for the edge from i to j > i; by default all.
        reads: Which inputs each neuron reads, `(features, neurons)`; by default all. `True`, where all do at first and weights
            that are loaded say which.
        biased: Which neurons have a bias, `(neurons,)`; by default all. `True` as for `reads`.
        threshold: A neuron is active where its output is larger; by default 0, for activations that have a clear zero.
        block: How many neurons are computed between two matrix products with all before them.
        dormant: As `MaskedDense`: what becomes of the weights of edges that are removed.
        encoder_initializer: Of E, by default Xavier's, as in the paper.
        kernel_initializer: Of L, likewise.
        bias_initializer: Of b; by default uniform, as in the paper, which does not give the bound: ±0.05 here, as Keras has it.
        max_units: As `GrowableDense`.
        **kwargs: As `keras.layers.Layer`.

    Input shape:
        `(batch, features)`.

    Output shape:
        `(batch, neurons)`.

    Raises:
        ValueError: If a number is not positive, edges lead to a neuron that is not later, or "active" is undefined.

    References:
        *FreeNets: Learning layerfree neural network topologies*, anonymous submission, section 3, and section 5 (initial
        weights).

    Examples:
        >>> layer = layers.FreeNet(6)
        >>> layer(np.zeros((2, 3))).shape, layer.edges, layer.depth
        (TensorShape([2, 6]), 15, 6)
    """

    rigid = ("out",)

    def __init__(
        self,
        neurons: int,
        activation: Any = "relu",
        adjacency: Any = None,
        reads: Any = None,
        biased: Any = None,
        threshold: float | None = None,
        block: int = 16,
        dormant: Dormant = "kept",
        encoder_initializer: Any = "glorot_uniform",
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "random_uniform",
        max_units: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dormant=dormant, **kwargs)
        self.units = whole_number("neurons", neurons)
        self.block, self.max_units = whole_number("block", block), checked_limit("max_units", max_units, self.units)
        self.activation = keras.activations.get(activation)
        self.threshold = threshold
        if self.threshold_of_activity() is None:
            raise ValueError(
                f"When a neuron is active is undefined for activation {_name_of(activation)!r}, whose outputs have no clear "
                "zero. Say with `threshold` above which output it is, or use 'relu'."
            )
        self.encoder_initializer = keras.initializers.get(encoder_initializer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self._start = None if adjacency is None else checked_adjacency(adjacency, self.units)
        self._reads, self._biased = reads, biased

    @classmethod
    def from_model(cls, model: Any, block: int = 16, threshold: float | None = None) -> keras.Model:
        """Return a network with one `FreeNet` that computes what a dense feed-forward network does.

        The neurons of all hidden layers become those of the FreeNet, in their order; edges lead from each layer to the next. What
        would lead past a layer (from inputs to later neurons, from earlier ones to outputs) is masked, and so does not train.

        Args:
            model: Dense layers, with a Flatten layer in front if there must be one; all hidden ones with the same activation,
                their own or one of a layer behind them. A layer may read several others, and the inputs, through
                `Concatenate`. Units become neurons in the order in which the model computes its layers.
            block: As the constructor.
            threshold: As the constructor; needed for activations without a clear zero.

        Returns:
            A `keras.Model`, not compiled: inputs, a FreeNet named `free_net`, a `MaskedDense` layer named as the last one.

        Raises:
            ValueError: If the model is something else.

        References:
            *FreeNets*, claim 4.1.

        Examples:
            >>> hidden = [keras.layers.Dense(n, "relu") for n in (4, 5)]
            >>> dense = keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(2)])
            >>> layers.FreeNet.from_model(dense).get_layer("free_net").edges
            20
        """
        network = embedding_of(model)
        arrays, last = network.arrays(), network.last
        edges, reads, biased = (arrays[name] for name in ("edges", "reads", "biased"))
        free = cls(network.neurons, network.activation, edges, reads, biased, threshold, block, name="free_net")
        decoder = MaskedDense(last.units, activation=last.activation, use_bias=last.use_bias, name=last.name)
        x = keras.Input(model.input_shape[1:], name="inputs")
        found = keras.Model(x, decoder(free(keras.layers.Flatten()(x) if network.flattened else x)), name=model.name)
        for name in ("encoder", "kernel", "bias"):
            getattr(free, name).assign(arrays[name])
        decoder.kernel.assign(arrays["decoder"])
        decoder.mask.assign(arrays["decoder_mask"])
        if last.use_bias:
            decoder.bias.assign(_array(last.bias))
        return found

    def threshold_of_activity(self) -> float | None:
        """Above which output a neuron is active; `None` if that is undefined."""
        if self.threshold is not None:
            return float(self.threshold)
        return threshold_of_activity(self.activation)

    def build(self, input_shape):
        """Create encoder, edges and biases."""
        if input_shape[-1] is None or len(input_shape) != 2:
            raise ValueError(
                f"Layer '{self.name}' expects inputs of shape (batch, features), the number of features known. Received "
                f"{tuple(input_shape)}: put a Flatten layer in front of it."
            )
        n = self.units
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        self.encoder = self.add_weight(name="encoder", shape=(input_shape[-1], n), initializer=self.encoder_initializer)
        self.bias = self.add_weight(name="bias", shape=(n,), initializer=self.bias_initializer)
        if self._reads is not None:
            self.encoder_mask = self._add_mask("encoder_mask", self._reads, (input_shape[-1], n))
        if self._biased is not None:
            self.bias_mask = self._add_mask("bias_mask", self._biased, (n,))
        self.kernel = self.add_weight(name="kernel", shape=(n, n), initializer=self._lower(self.kernel_initializer))
        edges = np.tril(np.ones((n, n), bool), -1) if self._start is None else self._start
        self.mask = self._add_mask("mask", edges, (n, n))
        self.schedule = schedule_for(edges, self.block)

    def _add_mask(self, name: str, values: Any, shape: tuple[int, ...]) -> Any:
        """A variable of booleans."""
        if np.shape(values) not in ((), shape):
            argument = {"encoder_mask": "reads", "bias_mask": "biased"}.get(name, name)
            raise ValueError(
                f"`{argument}` of layer '{self.name}' must have shape {shape}, for the inputs and neurons that it has. Received "
                f"shape {np.shape(values)}."
            )
        values = np.broadcast_to(np.asarray(values, bool), shape)
        start = {"initializer": lambda *_, **__: keras.ops.convert_to_tensor(values)}
        return self.add_weight(name=name, shape=shape, dtype="bool", trainable=False, **start)

    def _lower(self, initializer: Any) -> Any:
        """Weights of edges as an initializer has them, zeros elsewhere."""
        return lambda shape, dtype=None: keras.ops.tril(initializer(shape, dtype=dtype), -1)

    def check_mask(self, mask: Any) -> None:
        """Raise unless all edges lead to later neurons."""
        checked_adjacency(mask, self.units)

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Which units lie along which axis of which variable. New neurons read all that were there before."""
        reads = (
            AxisRule("encoder_mask", 0, "carry", new=1.0),
            AxisRule("encoder_mask", 1, "carry", new=1.0, tied_to="output"),
        )
        biased = (AxisRule("bias_mask", 0, "carry", new=1.0, tied_to="output"),)
        return (
            *(reads if self._reads is not None else ()),
            *(biased if self._biased is not None else ()),
            AxisRule("encoder", 0, "consume"),
            AxisRule("encoder", 1, "produce", size="units"),
            AxisRule("bias", 0, "produce"),
            AxisRule("kernel", 0, "carry", tied_to="output"),
            AxisRule("kernel", 1, "carry", tied_to="output", inherits=False),
            AxisRule("mask", 0, "carry", new=1.0, tied_to="output"),
            AxisRule("mask", 1, "carry", tied_to="output", inherits=False),
        )

    def possible_connections(self) -> np.ndarray:
        """Edges that lead to later neurons."""
        return np.tril(np.ones((self.units, self.units), bool), -1)

    def follows(self, mask: Any) -> dict[str, Any]:
        """How to compute the neurons follows from the edges."""
        found = schedule_for(np.tril(mask, -1), self.block, self.schedule)
        return {} if found == self.schedule else {"schedule": found}

    def call(self, inputs, training=None):
        """Compute the neurons one block after another."""
        given, kernel = self._given(inputs), keras.ops.transpose(keras.ops.tril(self.connected_kernel, -1))
        always = in_order(self.units, self.block)
        # By levels, edges that are not there are left out, also where their gradients are requested.
        everything = self.dormant == "training" or self._passes_gradients
        schedule = always if everything or self.schedule.neurons != self.units else self.schedule
        if schedule.order is None:
            return substituted(given, kernel, schedule, self.activation)
        return substituted_by_levels(given, kernel, self.mask, schedule, always, self.activation)

    def _given(self, inputs: Any) -> Any:
        """What neurons get from inputs and biases."""
        ops, encoder, bias = keras.ops, self.encoder, self.bias
        if self._reads is not None:
            encoder = ops.multiply(encoder, ops.cast(self.encoder_mask, encoder.dtype))
        if self._biased is not None:
            bias = ops.multiply(bias, ops.cast(self.bias_mask, bias.dtype))
        return ops.matmul(inputs, encoder) + bias

    @property
    def adjacency(self) -> np.ndarray:
        """Edges, `(neurons, neurons)`, bool, `True` at (j, i) for the edge from i to j."""
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no edges before it is built: call it, or put it into a model first."
            )
        return np.tril(np.asarray(keras.ops.convert_to_numpy(self.mask), bool), -1)

    @property
    def reads(self) -> np.ndarray | None:
        """Which inputs each neuron reads, `(features, neurons)`, bool; `None` for all."""
        found = None if self._reads is None else _array(self.encoder_mask).astype(bool)
        return None if found is None or found.all() else found

    def used_weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return encoder, biases and edges `(later, earlier)`, zero where a mask is."""
        encoder, bias, kernel = _array(self.encoder), _array(self.bias), _array(self.kernel)
        bias = bias if self._biased is None else bias * _array(self.bias_mask)
        return (encoder if self.reads is None else encoder * self.reads), bias, kernel * self.adjacency

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return int(self.adjacency.sum())

    @property
    def depth(self) -> int:
        """How many neurons the longest path has."""
        return int(levels_of(self.adjacency).max()) + 1

    @property
    def flops(self) -> int:
        """Multiplications and additions for a sample: those of what neurons read of the inputs, of biases, and of edges."""
        edges = self.edges
        reads = int(np.prod(self.encoder.shape)) if self._reads is None else int(_array(self.encoder_mask).sum())
        return 2 * reads + self.units + 2 * edges

    def count_flops(self, call: Any) -> int:
        """Floating point operations of a call."""
        return self.flops * (int(np.prod(call.outputs[0])) // self.units)

    def save_own_variables(self, store):
        """Write all variables, the mask among them."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        """Read what was written, and compute the graph that it has."""
        keras.layers.Layer.load_own_variables(self, store)
        self.schedule = schedule_for(self.adjacency, self.block)

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Return the arguments of the constructor, with the current number of neurons."""
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "neurons": self.units,
            "activation": keras.activations.serialize(self.activation),
            "threshold": self.threshold,
            "reads": None if self._reads is None else True,
            "biased": None if self._biased is None else True,
            "block": self.block,
            "encoder_initializer": serialize(self.encoder_initializer),
            "kernel_initializer": serialize(self.kernel_initializer),
            "bias_initializer": serialize(self.bias_initializer),
            "max_units": self.max_units,
        }


def _name_of(activation: Any) -> Any:
    return getattr(activation, "__name__", activation)


def _array(weight: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight))
