"""Random Functional models, for tests that must hold for every network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_struct.layers import GrowableConv1D, GrowableConv2D, GrowableConv3D, GrowableDense

layers = keras.layers
Block = Callable[["Draw", Any], Any]

MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "selu", "softsign", "leaky_relu", "mish")
WIDEST = 1000
"""Features up to which an image is flattened: layers as wide as what they read, squared, come behind it."""
CONVS = {1: (layers.Conv1D, GrowableConv1D), 2: (layers.Conv2D, GrowableConv2D), 3: (layers.Conv3D, GrowableConv3D)}


class Draw:
    """Random choices while a model is built; layers get short unique names.

    Args:
        seed: Seed of the choices.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._count = 0

    def name(self) -> str:
        """A name that was not used."""
        self._count += 1
        return f"l{self._count}"

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[self.rng.integers(len(choices))]

    def width(self) -> int:
        """A small number of units."""
        return int(self.rng.integers(2, 6))

    def flag(self, probability: float = 0.5) -> bool:
        """True with some probability."""
        return bool(self.rng.random() < probability)


@contextmanager
def dtype_policy(dtype: str) -> Iterator[None]:
    """Build layers in a dtype, and go back to the former one."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)


def random_model(
    seed: int, dtype: str = "float32", kind: type = keras.Model, blocks: tuple[int, int] = (2, 5)
) -> keras.Model:
    """Build a random network of the layers that structural edits understand.

    Args:
        seed: Same seed, same network and weights (up to rounding in another dtype).
        dtype: Dtype of layers and weights.
        kind: Class of the model.
        blocks: Smallest and largest number of blocks before the head.

    Returns:
        A built model with one or two inputs and one or two outputs; statistics of its batch normalisations are not
        those of the start.
    """
    draw = Draw(seed)
    keras.utils.set_random_seed(seed)
    with dtype_policy(dtype):
        inputs, x = _stem(draw)
        for _ in range(int(draw.rng.integers(blocks[0], blocks[1] + 1))):
            x = draw.pick(*_blocks(len(x.shape) - 2))(draw, x)
        x = _head(draw, x)
        if draw.flag(0.3):
            inputs, x = _second_input(draw, inputs, x)
        for _ in range(int(draw.rng.integers(1, 3))):
            x = draw.pick(_dense, _dense_block)(draw, x)
        outputs = [layers.Dense(2, name=draw.name())(x) for _ in range(1 + draw.flag(0.3))]
        model = kind(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0])
    _disturb(model, draw)
    return model


def random_data(model: keras.Model, samples: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """Random inputs and targets that fit a model, in its structure."""
    rng = np.random.default_rng(seed)
    dtype = model.inputs[0].dtype
    x = [rng.standard_normal((samples, *t.shape[1:])).astype(dtype) for t in model.inputs]
    y = [rng.standard_normal((samples, *t.shape[1:])).astype(dtype) for t in model.outputs]
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0])


def _disturb(model: keras.Model, draw: Draw) -> None:
    """Give every variable but the large kernels values as after some training."""
    for variable in model.weights:
        if len(variable.shape) == 1:
            low, high = (0.5, 1.5) if "variance" in variable.path or "gamma" in variable.path else (-0.5, 0.5)
            variable.assign(draw.rng.uniform(low, high, variable.shape))


def _stem(draw: Draw) -> tuple[list[Any], Any]:
    shape = draw.pick((7,), (8, 2), (6, 6, 2), (6, 6, 2), (4, 4, 4, 2))
    x = keras.Input(shape, name=draw.name())
    return [x], (_dense(draw, x) if len(shape) == 1 else _conv(draw, x))


def _blocks(rank: int) -> tuple[Block, ...]:
    common = (_norm, _activation, _noise, _merge, _concatenate, _nested, _shared, _operations)
    if rank == 0:
        return (_dense, _dense, *common)
    spatial = (_conv, _conv, _pool, _pad, _upsample, _conv_transpose, *common)
    return (*spatial, _depthwise, _separable, _squeeze_excite, _permute) if rank == 2 else spatial


def _dense(draw: Draw, x: Any) -> Any:
    kind = draw.pick(layers.Dense, GrowableDense)
    activation = draw.pick(None, *ACTIVATIONS)
    return kind(draw.width(), activation=activation, use_bias=draw.flag(0.8), name=draw.name())(x)


def _dense_block(draw: Draw, x: Any) -> Any:
    return draw.pick(_merge, _concatenate, _shared, _nested, _norm)(draw, x)


def _conv(draw: Draw, x: Any, filters: int | None = None) -> Any:
    kind = draw.pick(*CONVS[len(x.shape) - 2])
    options = {"padding": "same", "activation": draw.pick(None, "relu", "tanh"), "use_bias": draw.flag(0.8)}
    return kind(filters or draw.width(), draw.pick(1, 3), name=draw.name(), **options)(x)


def _conv_transpose(draw: Draw, x: Any) -> Any:
    kind = getattr(layers, f"Conv{len(x.shape) - 2}DTranspose")
    return kind(draw.width(), 2, padding="same", use_bias=draw.flag(), name=draw.name())(x)


def _depthwise(draw: Draw, x: Any) -> Any:
    return layers.DepthwiseConv2D(3, padding="same", use_bias=draw.flag(), name=draw.name())(x)


def _separable(draw: Draw, x: Any) -> Any:
    options = {"padding": "same", "depth_multiplier": draw.pick(1, 2), "use_bias": draw.flag()}
    return layers.SeparableConv2D(draw.width(), 3, name=draw.name(), **options)(x)


def _norm(draw: Draw, x: Any) -> Any:
    return layers.BatchNormalization(scale=draw.flag(0.8), center=draw.flag(0.8), name=draw.name())(x)


def _activation(draw: Draw, x: Any) -> Any:
    shared = list(range(1, len(x.shape) - 1)) if draw.flag() else None
    return draw.pick(
        layers.Activation(draw.pick(*ACTIVATIONS), name=draw.name()),
        layers.ReLU(max_value=6.0, name=draw.name()),
        layers.LeakyReLU(name=draw.name()),
        layers.ELU(name=draw.name()),
        layers.PReLU(alpha_initializer="random_normal", shared_axes=shared, name=draw.name()),
        layers.Rescaling(0.5, 0.1, name=draw.name()),
    )(x)


def _operations(draw: Draw, x: Any) -> Any:
    """Operations on symbolic tensors instead of layers."""
    y = draw.pick(keras.ops.tanh, keras.ops.relu, keras.activations.softplus)(x * 0.5)
    return draw.pick(lambda: x - y, lambda: keras.ops.maximum(x, y), lambda: 1.0 - y)()


def _noise(draw: Draw, x: Any) -> Any:
    spatial = {3: layers.SpatialDropout1D, 4: layers.SpatialDropout2D, 5: layers.SpatialDropout3D}
    kinds = [
        layers.Dropout,
        layers.GaussianDropout,
        layers.GaussianNoise,
        spatial.get(len(x.shape), layers.AlphaDropout),
    ]
    return draw.pick(*kinds)(0.2, name=draw.name())(x)


def _pool(draw: Draw, x: Any) -> Any:
    if len(x.shape) == 5:
        return _activation(draw, x)  # TensorFlow pools volumes in float32 only
    kind = getattr(layers, f"{draw.pick('Max', 'Average')}Pooling{len(x.shape) - 2}D")
    return kind(2, padding="same", name=draw.name())(x)


def _pad(draw: Draw, x: Any) -> Any:
    rank = len(x.shape) - 2
    x = getattr(layers, f"ZeroPadding{rank}D")(1, name=draw.name())(x)
    return getattr(layers, f"Cropping{rank}D")(1, name=draw.name())(x) if draw.flag() else x


def _upsample(draw: Draw, x: Any) -> Any:
    if max(x.shape[1:-1]) > 6:
        return _pool(draw, x)
    return getattr(layers, f"UpSampling{len(x.shape) - 2}D")(2, name=draw.name())(x)


def _same_shape(draw: Draw, x: Any) -> Any:
    """A branch that keeps the shape of its input."""
    if len(x.shape) == 2:
        return draw.pick(layers.Dense, GrowableDense)(x.shape[-1], activation="tanh", name=draw.name())(x)
    return _conv(draw, x, x.shape[-1])


def _merge(draw: Draw, x: Any) -> Any:
    branches = [_same_shape(draw, x), x if draw.flag() else _same_shape(draw, x)]
    return draw.pick(*MERGES)(name=draw.name())(branches)


def _concatenate(draw: Draw, x: Any) -> Any:
    other = _dense(draw, x) if len(x.shape) == 2 else _conv(draw, x)
    return layers.Concatenate(name=draw.name())([x, other] if draw.flag() else [other, x])


def _squeeze_excite(draw: Draw, x: Any) -> Any:
    y = layers.GlobalAveragePooling2D(name=draw.name())(x)
    y = layers.Dense(draw.width(), activation="relu", name=draw.name())(y)
    y = layers.Dense(x.shape[-1], activation="sigmoid", name=draw.name())(y)
    y = layers.Reshape((1, 1, x.shape[-1]), name=draw.name())(y)
    return layers.Multiply(name=draw.name())([x, y])


def _permute(draw: Draw, x: Any) -> Any:
    return layers.Permute((2, 1, 3), name=draw.name())(x)


def _nested(draw: Draw, x: Any) -> Any:
    """A model inside the model, Functional or Sequential, called once or twice."""
    shape = x.shape[1:]
    if draw.flag():
        inner = keras.Sequential([keras.Input(shape), layers.BatchNormalization(name=draw.name())], name=draw.name())
        inner.add(layers.Dense(shape[-1], activation="tanh", name=draw.name()))
    else:
        inside = keras.Input(shape)
        inner = keras.Model(inside, _merge(draw, inside), name=draw.name())
    return inner(inner(x)) if draw.flag(0.3) else inner(x)


def _shared(draw: Draw, x: Any) -> Any:
    """One layer called on two tensors."""
    shared = draw.pick(layers.Dense, GrowableDense)(draw.width(), activation="relu", name=draw.name())
    return draw.pick(layers.Add, layers.Concatenate)(name=draw.name())([shared(x), shared(_same_shape(draw, x))])


def _head(draw: Draw, x: Any) -> Any:
    rank = len(x.shape) - 2
    if rank == 0:
        return x
    choice = draw.pick("flatten", "global", "reshape")
    if choice == "global" or np.prod(x.shape[1:]) > WIDEST:
        return getattr(layers, f"Global{draw.pick('Max', 'Average')}Pooling{rank}D")(name=draw.name())(x)
    if choice == "reshape":
        positions = int(np.prod(x.shape[1:-1]))
        x = layers.Reshape((positions, x.shape[-1]), name=draw.name())(x)
    return layers.Flatten(name=draw.name())(x)


def _second_input(draw: Draw, inputs: list[Any], x: Any) -> tuple[list[Any], Any]:
    other = keras.Input((5,), name=draw.name())
    joined = layers.Concatenate(name=draw.name())([x, other if draw.flag() else _dense(draw, other)])
    return [*inputs, other], joined
