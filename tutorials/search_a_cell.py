# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Search a cell for your images
#
# Instead of choosing between a 3 x 3 and a 5 x 5 convolution, a pooling and a skip connection at every place of a network, let
# gradient descent choose. This takes a minute on two cores, with the small digits that come with scikit-learn.

# %%
import keras
import numpy as np

from keras_struct import datasets, search, visualization
from keras_struct.applications import darts_network, darts_supernet

keras.utils.set_random_seed(0)
data = datasets.load("digits")
x, y = data.x_train[..., None], data.y_train
x.shape

# %% [markdown]
# ## The supernet
#
# A DARTS network is a chain of *cells* of two kinds; reduction cells halve the image. Inside a cell, each *node* is the sum of
# operations on all states before it. In the supernet all eight operations are on every edge, each with a weight.

# %%
supernet = darts_supernet((8, 8, 1), 10, init_channels=4, layers=3, nodes=2)
weights = supernet.get_layer("alpha_normal")
print(weights.operations)
print(f"{supernet.count_params():,} parameters, {weights.alpha.shape[0]} edges in a cell of two nodes")

# %% [markdown]
# ## The search
#
# `DartsPrime` divides the samples: most train the weights, the others the architecture, which moves only when the weights have
# settled. The learning rate of the architecture is higher here than usual, since the search is so short.

# %%
prime = search.DartsPrime(
    supernet,
    "sparse_categorical_crossentropy",
    ratio=3,
    architecture_optimizer=keras.optimizers.Adam(0.02, beta_1=0.5),
)
history = prime.fit(x, y, batch_size=32, epochs=6, verbose=2)

# %%
print(prime.genotype())
assert history.history["loss"][-1] < history.history["loss"][0]

# %% [markdown]
# What came of it, which operations gained weight, and when the architecture moved (marks at the bottom):

# %%
visualization.plot_genotype(prime.genotype())

# %%
visualization.plot_operations(prime.record)

# %%
visualization.plot_schedule(prime.record)

# %% [markdown]
# ## The network that was found
#
# Usually it is trained from fresh weights, larger than the supernet was:

# %%
network = darts_network(prime.genotype(), (8, 8, 1), 10, init_channels=8, layers=3)
network.compile(keras.optimizers.SGD(0.025, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
network.fit(x, y, batch_size=32, epochs=6, verbose=0)
accuracy = network.evaluate(data.x_test[..., None], data.y_test, verbose=0, return_dict=True)["accuracy"]
print(f"{network.count_params():,} parameters, test accuracy {accuracy:.3f}")
assert accuracy > 0.85

# %% [markdown]
# Or the supernet itself drops what was not chosen, keeps the weights of the rest, and is trained on. That is an edit like any
# other: the optimizer's state follows, and it is in the log.

# %%
before = supernet.count_params()
supernet.choose()
supernet.fit(x, y, batch_size=32, epochs=3, verbose=0)
print(f"{before:,} -> {supernet.count_params():,} parameters")
print(supernet.structure_log.to_table())
assert supernet.count_params() < before / 2

# %% [markdown]
# A genotype is text. It can be pasted from a paper or a log:

# %%
found = search.Genotype.parse(str(prime.genotype()))
assert found == prime.genotype()
np.all([name in search.PRIMITIVES for name, _ in found.normal])
