"""Write the saved models of this folder: `python tests/saved/make.py FOLDER`. Run with the version whose files are kept."""

import sys
from pathlib import Path

import keras
import numpy as np

from keras_struct import StructuralModel, layers, sparsify
from keras_struct.schedules import EveryNSteps
from keras_struct.strategies import FreeEvolve, Grow, GrowAndPrune, NorthSelect, Prune
from keras_struct.triggers import EffectiveDimension, FractionOfWidth

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((32, 6)).astype("float32"), RNG.standard_normal((32, 2)).astype("float32")
IMAGES = RNG.standard_normal((8, 6, 6, 1)).astype("float32")


def grown():
    """Dense layers under NorthSelect, trained and grown."""
    stack = [keras.Input((6,)), layers.GrowableDense(4, activation="relu", name="h1", max_units=12)]
    model = StructuralModel(
        [*stack, layers.GrowableDense(5, activation="tanh", name="h2"), keras.layers.Dense(2, name="o")]
    )
    strategy = NorthSelect(EffectiveDimension(gamma=0.6), schedule=EveryNSteps(2), max_units=9)
    model.compile("adam", "mse", strategy=strategy, probe=32)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    model.grow("h2", 2)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    return model, X


def both():
    """A strategy made of others, compiled and never trained."""
    model = StructuralModel([keras.Input((6,)), layers.GrowableDense(4, name="h1"), keras.layers.Dense(2, name="o")])
    grow, prune = (
        Grow(FractionOfWidth(0.5), schedule=EveryNSteps(3)),
        Prune(FractionOfWidth(0.2), schedule=EveryNSteps(4)),
    )
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", strategy=GrowAndPrune(grow, prune))
    return model, X


def masked():
    """Masked layers with half of the connections, from a stock model."""
    plain = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(7, activation="relu", name="a"), keras.layers.Dense(2, name="o")]
    )
    model = sparsify(plain)
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.prune_connections(0.5)
    model.fit(X, Y, verbose=0)
    return model, X


def symmetric():
    """A relaxed group convolution with its normalisation and pooling."""
    stack = [
        keras.Input((6, 6, 1)),
        layers.GroupConv2D(2, 3, group="D4", name="c"),
        layers.GroupBatchNormalization("D4", name="n"),
    ]
    stack += [
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
        layers.GroupPooling2D("D4", name="p"),
        keras.layers.Dense(2),
    ]
    model = StructuralModel(stack)
    model.compile("adam", "mse")
    model.fit(IMAGES, Y[:8], verbose=0)
    model.relax("c", "C4")
    model.grow("c", 1)
    model.fit(IMAGES, Y[:8], verbose=0)
    return model, IMAGES


def chosen():
    """A mixture of layers of which one was chosen."""
    x = keras.Input((6,))
    parts = {"wide": keras.layers.Dense(4, activation="tanh"), "linear": keras.layers.Dense(4)}
    model = StructuralModel(x, keras.layers.Dense(2)(layers.MixedOp(parts, name="mixed")(x)))
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.choose()
    return model, X


def free():
    """A network without layers whose edges came and went."""
    x = keras.Input((6,))
    model = StructuralModel(x, keras.layers.Dense(2)(layers.FreeNet(5, name="free")(x)))
    model.compile("adam", "mse", strategy=FreeEvolve(every=2, warmup=0, samples=32), probe=X)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    return model, X


MODELS = {build.__name__: build for build in (grown, both, masked, symmetric, chosen, free)}

if __name__ == "__main__":
    for name, build in MODELS.items():
        keras.utils.set_random_seed(0)
        model, x = build()
        folder = Path(sys.argv[1])
        model.save(folder / f"{name}.keras")
        model.save_weights(folder / f"{name}.weights.h5")
        np.save(folder / f"{name}.npy", model.predict(x, verbose=0))
        print(name, dict(model.structure.axes), len(model.structure_log))
