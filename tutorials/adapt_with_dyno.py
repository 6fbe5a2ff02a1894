# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Adapt a pretrained network with DYNO
#
# A network that was trained on one task is fitted to another. Usually only its weights change. But the new task may have no
# use for some of its units and lack others. DYNO prunes and grows during fine-tuning, layer by layer, from what it sees in the
# activations. You should have seen *Your first network that grows*.
#
# Our old task is to tell the digits 0 to 4, the new one 5 to 9. With a network of `keras.applications` and images of your own
# the code is the same.

# %%
import keras
import numpy as np

from keras_struct import AutoRGN, datasets, transfer
from keras_struct.schedules import EveryNSteps
from keras_struct.statistics import flops
from keras_struct.strategies import Dyno, Grow, GrowAndPrune, Prune
from keras_struct.triggers import FractionOfWidth
from keras_struct.visualization import plot_widths

data = datasets.load("digits")


def digits(first, last):
    parts = ((data.x_train, data.y_train), (data.x_test, data.y_test))
    chosen = [(x[(y >= first) & (y <= last)], y[(y >= first) & (y <= last)]) for x, y in parts]
    return [(x[..., None], y - first) for x, y in chosen]


old, new = digits(0, 4), digits(5, 9)

keras.utils.set_random_seed(1)
layers = keras.layers
pretrained = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2"),
        layers.Flatten(),
        layers.Dense(96, activation="relu", name="dense"),
        layers.Dense(5, activation="softmax", name="digit"),
    ]
)
pretrained.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
pretrained.fit(*old[0], batch_size=32, epochs=8, verbose=0)
pretrained.evaluate(*old[1], verbose=0)[1]

# %% [markdown]
# ## A new head
# `transfer` keeps the features and replaces the classifier; the result is a `StructuralModel`. With
# `keras.applications.MobileNetV2()` in place of `pretrained` it works alike.


# %%
def adapt(strategy=None, callbacks=()):
    keras.utils.set_random_seed(2)
    model = transfer(pretrained, num_classes=5)
    adam = keras.optimizers.Adam(1e-3)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy)
    model.fit(*new[0], batch_size=32, epochs=10, verbose=0, callbacks=list(callbacks))
    accuracy = model.evaluate(*new[1], verbose=0)[1]
    print(f"accuracy {accuracy:.3f}  widths {list(model.structure.axes.values())}  operations {flops(model):,}")
    return model, accuracy


static, static_accuracy = adapt()

# %% [markdown]
# ## DYNO
# The *effective dimension* of a layer is the share of its units whose activations are not combinations of the others'. When it
# falls below its value after the layer's last edit by more than `delta`, as many units are pruned, dormant ones and those most
# similar to others first; when it rises, new ones are grown, with outgoing weights of zero. `start=1.0` says what the layers'
# units were worth on the old data: all independent. What the new data do not fill is then pruned at the first evaluation.

# %%
dyno, dyno_accuracy = adapt(Dyno(every=15, max_units=128, start=1.0))
plot_widths(dyno)

# %%
print(dyno.structure_log.to_table())

# %% [markdown]
# Most goes at once from the dense layer; later looks are small corrections, in both directions.
#
# ## Learning rates of their own
# Surgical fine-tuning changes how *fast* layers adapt: `AutoRGN` scales each layer's learning rate by how strongly the task
# asks it to change, relative to its weights. It goes with any model and optimizer, and with DYNO.

# %%
rates = AutoRGN(*new[0], batch_size=32, batches=3)
both, both_accuracy = adapt(Dyno(every=15, max_units=128, start=1.0), [rates])
for step, factors in rates.history[:: max(1, len(rates.history) // 3)]:
    print(step, {name: round(factor, 2) for name, factor in factors.items()})

# %% [markdown]
# ## Any other pair
# DYNO is one way to put a growing and a pruning policy together. Take others with `GrowAndPrune`; a budget keeps the size while
# units are turned over. Here a tenth of each layer, whatever it does, goes now and then, and others come.

# %%
tenth = FractionOfWidth(0.1)
grow = Grow(tenth, schedule=EveryNSteps(30), max_flops=flops(static))
prune = Prune(tenth, schedule=EveryNSteps(45), minimum=8)
turned, turned_accuracy = adapt(GrowAndPrune(grow, prune))
plot_widths(turned)

# %%
assert flops(dyno) < 0.9 * flops(static)
assert dyno_accuracy > static_accuracy - 0.05
assert flops(turned) <= flops(static)
assert turned.structure_log
assert np.isclose(max(rates.factors.values()), 1)
