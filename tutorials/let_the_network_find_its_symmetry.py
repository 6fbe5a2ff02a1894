# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Let the network find its symmetry
#
# Which symmetry do your data have? Too little, and the network wastes examples; too much, and it cannot tell a 6 from a 9.
# And the answer may differ from layer to layer. Two searches find one while the network trains. You should have seen
# *Symmetries in one line*.
#
# Our data are digits turned by quarter turns: a symmetry of rotations (C4), and none of mirrors.

# %%
import keras

from keras_struct import datasets
from keras_struct.applications import EquivariantCNN
from keras_struct.core.model.parts import parts_of
from keras_struct.search import EquiNASD, EquiNASE
from keras_struct.visualization import plot_mixtures, plot_population

data = datasets.turned(datasets.load("digits"), "C4", seed=1)
x, y, x_val, y_val = data.x_train[300:], data.y_train[300:], data.x_train[:300], data.y_train[:300]
loss = "sparse_categorical_crossentropy"


def backbone(groups):
    """Eight group convolutions, narrow ones, for small images."""
    keras.utils.set_random_seed(1)
    return EquivariantCNN((8, 8, 1), 10, groups, width=1 / 8, kernel_size=3, pooled=(3, 5), hidden=32)


# %% [markdown]
# ## By gradient descent
# In `EquiNASD` each layer is a mixture of kernels: z tells how much of a kernel without symmetry (C1), with that of rotations
# (C4), and with that of rotations and mirrors (D4). Every step moves z on one batch and the weights on another. The network is
# trained when the search is over.

# %%
adam = keras.optimizers.Adam(2e-3)
search = EquiNASD(backbone([["C1", "C4", "D4"]] * 8), loss, adam, metrics=["accuracy"])
history = search.fit(x, y, batch_size=16, epochs=10, verbose=0)
by_descent = search.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]
print(f"test accuracy {by_descent:.3f}")
plot_mixtures(search.mixtures)

# %% [markdown]
# A thousand small images move the mixtures only a little. `search.fresh_network()` gives a
# network of the same mixtures with fresh weights, `model.to_plain()` one of stock layers.
#
# ## By evolution
# `EquiNASE` starts from full symmetry. In each generation every network has children, one for each way to relax a layer. A child
# inherits all weights and computes what its parent does, to the last digit: it has nothing to catch up. All train for half an
# epoch (here for one); those that are not beaten in both accuracy and size stay.

# %%
options = {"generations": 3, "epochs": 1, "parents": 3, "batch_size": 16, "mutation": "reduced"}
evolution = EquiNASE(backbone("D4"), loss, keras.optimizers.Adam(2e-3), **options)
evolution.fit(x, y, validation_data=(x_val, y_val))
plot_population(evolution.history)

# %%
best = evolution.best()
network = evolution.load(best)
by_evolution = network.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]
print(f"test accuracy {by_evolution:.3f} with {best.parameters:,} weights: {' '.join(best.groups)}")

# %% [markdown]
# Groups never grow from layer to layer here, as published. All networks of a search share one compiled training step: taking
# on other symmetries and weights traces nothing again.
#
# ## Against fixed symmetries


# %%
def fixed(group):
    model = backbone(group)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=16, epochs=10, verbose=0)
    return model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]


for group in ("C1", "C4", "D4"):
    print(f"{group}: {fixed(group):.3f}")

# %% [markdown]
# The right symmetry beats too little and too much of it. The searches come out in between: they did not know it, and had as
# little time as each of these.
#
# Both searches go on where they were after an interruption: pass `backup="folder"` to `EquiNASD.fit`, `folder="folder"` to
# `EquiNASE.fit`.

# %%
assert len(search.mixtures) == 11
assert by_descent > 0.7
assert all(len(one["groups"]) == 8 for one in evolution.history[-1])
assert parts_of(network).editor.retraces == 0
