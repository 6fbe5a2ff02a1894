# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Make a trained model half the size
#
# You have a trained Keras model, and it is too large or too slow. We take half of its operations away, train on for a moment,
# and get a plain Keras model. Any Functional or Sequential model will do; ours is a small network for handwritten digits.

# %%
import tempfile
from pathlib import Path

import keras
import numpy as np

from keras_struct import Budget, StructuralModel, datasets, selectors, sparsify
from keras_struct.export import load_compact, save_compact
from keras_struct.schedules import Cubic
from keras_struct.statistics import flops
from keras_struct.strategies import Sparsify
from keras_struct.visualization import plot_structure

data = datasets.load("digits")
train, test = ((x[..., None], y) for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)))

keras.utils.set_random_seed(1)
layers = keras.layers
trained = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", name="first"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(64, 3, strides=2, padding="same", activation="relu", name="second"),
        layers.Flatten(),
        layers.Dense(64, activation="relu", name="third"),
        layers.Dense(10, activation="softmax", name="digit"),
    ]
)
loss = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
trained.compile(keras.optimizers.Adam(3e-3), **loss)
trained.fit(*train, batch_size=64, epochs=8, verbose=0)


def accuracy(model):
    return model.evaluate(*test, verbose=0, return_dict=True)["accuracy"]


f"{accuracy(trained):.3f} with {flops(trained):,} operations and {trained.count_params():,} parameters"

# %% [markdown]
# ## What can go
# `from_model` copies the model, weights and optimizer included, into one whose units can be edited. An *axis* is a set of
# units that can only change together; it is named after the layer that makes them. What is fixed comes with the reason.

# %%
model = StructuralModel.from_model(trained)
print(model.structure.axes, model.structure.locked, sep="\n")
plot_structure(model)

# %% [markdown]
# ## Half the operations, in one call
# A `Budget` says what the model may cost, a **selector** which units matter least. Those that look at data get them as `probe`
# and `targets`. We try some on copies.


# %%
def pruned(selector, further=2):
    copy = StructuralModel.from_model(trained)
    copy.compile(keras.optimizers.Adam(1e-3), probe=train[0][:256], targets=train[1][:256], **loss)
    copy.prune(budget=Budget(flops=0.5), selector=selector)
    at_once = accuracy(copy)
    copy.fit(*train, batch_size=64, epochs=further, verbose=0)
    return copy, at_once


found = {}
for selector in (selectors.RandomUnits(), selectors.Magnitude(), selectors.Taylor(), selectors.OptimalBrainSurgeon()):
    name = type(selector).__name__
    found[name], at_once = pruned(selector)
    print(f"{name:20} {at_once:.3f} at once, {accuracy(found[name]):.3f} trained on")

half = found["Taylor"]
print(half.structure.axes, f"{flops(half) / flops(trained):.0%} of the operations")
plain = half.to_plain()  # stock Keras layers: save it, export it, hand it on

# %% [markdown]
# Every architecture of `keras.applications` can be pruned like this: units that sums, shuffles or attention tie go together. On
# the command line it is `keras-struct prune trained.keras --flops 0.5 --criterion taylor --data digits`.
#
# ## Single connections
# If the size of the *file* matters, single connections can go: far more of them. Here 90 % go in training, most of them early.

# %%
sparse = sparsify(trained)
sparse.compile(keras.optimizers.Adam(1e-3), strategy=Sparsify(schedule=Cubic(final=0.9, stop=90, every=10)), **loss)
sparse.fit(*train, batch_size=64, epochs=6, verbose=0)
print(f"{accuracy(sparse):.3f} with connections {sparse.connections}")

folder = Path(tempfile.mkdtemp())
sizes = [save_compact(model, folder / f"{name}.npz") for name, model in (("trained", trained), ("sparse", sparse))]
print("{:,} bytes before, {:,} after".format(*sizes))

# %% [markdown]
# ## What to remember
# * `StructuralModel.from_model(model)`, then `model.prune(budget=Budget(flops=0.5), selector=...)`, then `fit`, then `to_plain`.
# * Random units do surprisingly well once you train on; what selectors buy is accuracy *before* that.

# %%
assert flops(half) <= 0.5 * flops(trained)
assert accuracy(half) > accuracy(trained) - 0.03
assert np.allclose(plain.predict(test[0], verbose=0), half.predict(test[0], verbose=0), atol=1e-5)
assert sizes[1] < sizes[0] / 4
loaded = load_compact(folder / "sparse.npz")
assert np.allclose(loaded.predict(test[0], verbose=0), sparse.predict(test[0], verbose=0), atol=1e-5)
