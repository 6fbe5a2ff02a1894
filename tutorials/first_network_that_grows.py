# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Your first network that grows
#
# How many units should a hidden layer have? Usually you guess, train, and guess again. Here the network decides while
# `model.fit` runs: it starts with 8 units in each layer and adds units as long as they bring something new.
#
# You need to know Keras, and nothing else. It takes less than a minute on a CPU.

# %%
import keras

from keras_struct import StructuralModel, datasets
from keras_struct.layers import GrowableDense
from keras_struct.strategies import NorthSelect
from keras_struct.triggers import EffectiveDimension
from keras_struct.visualization import plot_widths

keras.utils.set_random_seed(1)
digits = datasets.load("digits")
x_train, x_test = (x.reshape(len(x), 64) for x in (digits.x_train, digits.x_test))
x_train.shape

# %% [markdown]
# ## A model as usual
# `GrowableDense` is `keras.layers.Dense` with one more argument: how far it may grow. `StructuralModel` is `keras.Model`.

# %%
model = StructuralModel(
    [
        keras.Input((64,)),
        GrowableDense(8, max_units=64, activation="relu", name="hidden_1"),
        GrowableDense(8, max_units=64, activation="relu", name="hidden_2"),
        keras.layers.Dense(10, activation="softmax", name="digit"),
    ]
)
dict(model.structure.axes)

# %% [markdown]
# Those are the two **axes** that can change. Everything else is fixed, and the model says why:

# %%
dict(model.structure.locked)

# %% [markdown]
# ## When to grow, and how
# A *strategy* looks at the running network after each gradient step. `NorthSelect` measures how many of a layer's units
# really differ on recent inputs (their **effective dimension**). While that stays above a fraction `gamma` of what it was
# at the start, the layer has use for more units. The new ones are chosen from many random candidates: those that differ
# most from the units that are there. The paper uses `gamma=0.97` for layers of 64 units; ours start with 8, so that one
# unit more is a large step, and we allow more redundancy.

# %%
model.compile(
    keras.optimizers.Adam(3e-3),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
    strategy=NorthSelect(EffectiveDimension(gamma=0.8)),
)
history = model.fit(x_train, digits.y_train, batch_size=64, epochs=15, verbose=2)

# %% [markdown]
# ## What happened
# Every change is an event: after which step, which axis, how wide before and after.

# %%
print(model.structure_log.to_table())

# %%
plot_widths(history)

# %% [markdown]
# No event disturbed what the network had learned: new units start with outgoing weights of zero. `change` is how far the
# outputs moved, relative to the largest output.

# %%
max(event.change for event in model.structure_log)

# %% [markdown]
# ## Is it any good?
# A fixed network of the width to start with, trained with the same budget, for comparison.

# %%
keras.utils.set_random_seed(1)
small = keras.Sequential([keras.Input((64,)), *(keras.layers.Dense(8, activation="relu") for _ in range(2))])
small.add(keras.layers.Dense(10, activation="softmax"))
small.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
small.fit(x_train, digits.y_train, batch_size=64, epochs=15, verbose=0)
{
    name: round(net.evaluate(x_test, digits.y_test, verbose=0)[1], 3)
    for name, net in {"grown": model, "fixed at 8": small}.items()
}

# %% [markdown]
# ## Keep it
# The grown model is saved, loaded and trained on like any Keras model, and `to_plain()` gives the same network in stock
# Keras layers for people without this library. You can also change it by hand, with `model.grow("hidden_1", 4)`,
# `model.prune("hidden_1", count=2)` or `model.split("hidden_1", [0])`.

# %%
plain = model.to_plain()
plain.summary()

# %%
assert model.structure.axes["hidden_2"] > 8
assert model.evaluate(x_test, digits.y_test, verbose=0)[1] > small.evaluate(x_test, digits.y_test, verbose=0)[1]
