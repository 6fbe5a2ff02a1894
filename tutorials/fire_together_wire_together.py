# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Neurons that fire together wire together
#
# Why should a network have layers? In a `FreeNet` any neuron may read any neuron before it. Which of these edges there are is
# not your decision: edges appear between neurons that are active on the same inputs, and vanish between neurons that are silent
# on the same inputs, while the weights train. You need one layer, one strategy, and no design.

# %%
import keras
import numpy as np

from keras_struct import StructuralModel, datasets
from keras_struct.export import to_compact
from keras_struct.layers import FreeNet
from keras_struct.strategies import FreeEvolve, Synaptogenesis
from keras_struct.visualization import plot_adjacency, plot_coactivation, plot_edges, plot_graph

digits = datasets.load("digits")
x, x_test = (part.reshape(len(part), 64) for part in (digits.x_train, digits.x_test))
y, y_test = digits.y_train, digits.y_test

# %% [markdown]
# A `FreeNet` stands where a hidden layer would. It begins with all edges: 30 neurons, 435 edges. Two neurons act together if
# they do on more than a share `1 - epsilon` of the inputs; here 0.6, and the strategy looks once an epoch.

# %%
keras.utils.set_random_seed(2)
inputs = keras.Input((64,))
outputs = keras.layers.Dense(10, "softmax")(FreeNet(30, name="free")(inputs))
model = StructuralModel(inputs, outputs)
steps = -(-len(x) // 32)
strategy = FreeEvolve(epsilon=0.4, every=steps, warmup=2 * steps)
model.compile(
    keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy, probe=x
)
history = model.fit(x, y, batch_size=32, epochs=20, verbose=0)
free = model.get_layer("free")
accuracy = model.evaluate(x_test, y_test, verbose=0)[1]
print(f"test accuracy {accuracy:.3f}, {free.edges} of 435 edges left, longest path {free.depth} neurons")

# %% [markdown]
# ## What happened?
# Nearly all edges that go do so at the first evaluation: some neurons are silent on almost every input, and an edge between two
# of these hardly ever carries a gradient. Nothing can be *added* to a full graph; an edge comes back only when its neurons
# have begun to fire together.

# %%
plot_edges(history)

# %%
plot_adjacency(model)

# %%
plot_graph(model)

# %% [markdown]
# The strategy remembers how often pairs acted together when it looked first and when it looked last. Left: pairs that are
# silent together, of which those beyond 0.6 lost their edge. Right: pairs that fire together.

# %%
plot_coactivation(model)

# %% [markdown]
# ## From layers to no layers
# The same rule finds *skip connections*. Any dense network is a `FreeNet` whose edges lead from each layer to the next: embed
# yours, the function stays the same, and `Synaptogenesis` adds edges between neurons of distant layers that fire together.

# %%
keras.utils.set_random_seed(3)
layers = [keras.layers.Dense(n, "relu") for n in (16, 12, 12)]
dense = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10, "softmax")])
embedded = FreeNet.from_model(dense)
moved = np.abs(embedded.predict(x_test, verbose=0) - dense.predict(x_test, verbose=0)).max()
print(f"embedding moved the outputs by {moved:.0e}")

deep = StructuralModel(embedded.inputs[0], embedded.outputs[0])
layer = deep.get_layer("free_net")
first_to_third = layer.adjacency[28:, :16].sum()
deep.compile(
    keras.optimizers.Adam(3e-3),
    "sparse_categorical_crossentropy",
    metrics=["accuracy"],
    strategy=Synaptogenesis(epsilon=0.3, every=steps, warmup=2 * steps, value="zero"),
    probe=x,
)
deep.fit(x, y, batch_size=32, epochs=15, verbose=0)
skips = layer.adjacency[28:, :16].sum()
print(f"edges from the first to the third layer: {first_to_third} before, {skips} now")
print(f"test accuracy {deep.evaluate(x_test, y_test, verbose=0)[1]:.3f}")
print(deep.structure_log.to_table())

# %% [markdown]
# New edges start from weight zero here, so that each event leaves the function as it was (`change`). The measure itself is one
# call away: `model.coactivation("free", x)` counts for every pair in how many samples both neurons are active.
#
# ## For inference
# While it trains, a `FreeNet` keeps all weights and a mask. The compact form has one weight for each edge that is left.

# %%
compact = to_compact(model)
print(
    f"{model.count_params():,} weights and mask entries in training, {compact.count_params():,} weights for inference"
)
print(f"outputs moved by {np.abs(compact.predict(x_test, verbose=0) - model.predict(x_test, verbose=0)).max():.0e}")

# %%
assert accuracy > 0.9
assert free.edges < 435
assert moved < 1e-6
assert skips > first_to_third == 0
assert compact.count_params() == 64 * 30 + 30 + free.edges + 31 * 10
assert np.allclose(compact.predict(x_test, verbose=0), model.predict(x_test, verbose=0), atol=1e-6)
