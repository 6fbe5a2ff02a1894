"""Small networks of the kinds whose depth is edited."""

import keras
import numpy as np

from keras_struct import StructuralModel

layers = keras.layers
RNG = np.random.default_rng(0)


def chain(dtype="float32"):
    x = inputs = keras.Input((6,), dtype=dtype)
    for name in ("stem", "a", "b"):
        x = layers.Dense(8, activation="relu", name=name, dtype=dtype)(x)
    return StructuralModel(inputs, layers.Dense(3, name="head", dtype=dtype)(x))


def image(dtype="float32"):
    x = inputs = keras.Input((8, 8, 3), dtype=dtype)
    x = layers.Conv2D(4, 3, padding="same", name="stem", dtype=dtype)(x)
    x = layers.BatchNormalization(name="norm", dtype=dtype)(x)
    x = layers.ReLU(name="act", dtype=dtype)(x)
    y = layers.Conv2D(4, 3, padding="same", name="inner", dtype=dtype)(x)
    x = layers.Add(name="add", dtype=dtype)([x, y])
    x = layers.GlobalAveragePooling2D(name="pool", dtype=dtype)(x)
    return StructuralModel(inputs, layers.Dense(3, name="head", dtype=dtype)(x))


def residual(blocks=3, width=8, dtype="float32"):
    x = inputs = keras.Input((6,), dtype=dtype)
    x = layers.Dense(width, name="stem", dtype=dtype)(x)
    for i in range(blocks):
        y = layers.Dense(5, activation="relu", name=f"up_{i}", dtype=dtype)(x)
        x = layers.Add(name=f"add_{i}", dtype=dtype)([x, layers.Dense(width, name=f"down_{i}", dtype=dtype)(y)])
    return StructuralModel(inputs, layers.Dense(3, name="head", dtype=dtype)(x))


def transformer(blocks=3, width=8, dtype="float32"):
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(11, width, name="embed", dtype=dtype)(tokens)
    for i in range(blocks):
        y = layers.LayerNormalization(name=f"norm_{i}a", dtype=dtype)(x)
        y = layers.MultiHeadAttention(2, width // 2, name=f"attention_{i}", dtype=dtype)(y, y, use_causal_mask=True)
        x = layers.Add(name=f"add_{i}a", dtype=dtype)([x, y])
        y = layers.LayerNormalization(name=f"norm_{i}b", dtype=dtype)(x)
        y = layers.Dense(2 * width, activation="gelu", name=f"up_{i}", dtype=dtype)(y)
        y = layers.Dense(width, name=f"down_{i}", dtype=dtype)(y)
        x = layers.Add(name=f"add_{i}b", dtype=dtype)([x, y])
    return StructuralModel(tokens, layers.Dense(11, name="head", dtype=dtype)(x))


def nested(dtype="float32"):
    i = keras.Input((6,), dtype=dtype)
    x = layers.Dense(8, activation="relu", name="one", dtype=dtype)(i)
    backbone = keras.Model(i, layers.Dense(8, activation="relu", name="two", dtype=dtype)(x), name="backbone")
    inputs = keras.Input((6,), dtype=dtype)
    return StructuralModel(inputs, layers.Dense(3, name="head", dtype=dtype)(backbone(inputs)))


def data_for(model, count=16):
    rng = np.random.default_rng(1)
    shape = (count, *model.inputs[0].shape[1:])
    kind = model.inputs[0].dtype
    x = rng.integers(0, 11, shape) if kind == "int32" else rng.standard_normal(shape).astype(kind)
    return x, rng.standard_normal((count, *model.outputs[0].shape[1:])).astype(model.outputs[0].dtype)


def trained(model, steps=2, optimizer="adam"):
    """A compiled model after a few steps, and its data."""
    x, y = data_for(model)
    model.compile(optimizer, "mse", run_eagerly=True)
    for _ in range(steps):
        model.train_on_batch(x, y)
    return model, x, y


def output(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def state_of(model):
    """Everything that must be what it was after an edit that failed."""
    held = [*model.variables, *([] if model.optimizer is None else model.optimizer.variables)]
    return (
        [keras.ops.convert_to_numpy(variable.value) for variable in held],
        list(map(id, held)),
        str(model.get_config()),
        [len(layer._inbound_nodes) for layer in model.layers],
        [len(layer._outbound_nodes) for layer in model.layers],
        dict(model.structure.axes),
    )


def assert_same_state(found, expected):
    for one, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[1:] == expected[1:]
