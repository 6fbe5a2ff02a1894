# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Symmetries in one line
#
# A photograph of cells, stars or leaves shows the same thing when it is turned or mirrored. An ordinary network has to learn
# that from examples; an equivariant one knows it. You need an ordinary Keras network, and one line.

# %%
import keras
import numpy as np

from keras_struct import datasets, to_equivariant
from keras_struct.symmetry import equivariance_error

digits = datasets.load("digits")
upright = digits.x_train[:600, ..., None], digits.y_train[:600]
turned = datasets.turned(digits, "C4", seed=1)  # each image turned by 0, 90, 180 or 270 degrees
x_test, y_test = turned.x_test, turned.y_test

# %% [markdown]
# We train on *upright* digits only and test on turned ones: unfair, to see what a network knows by itself.


# %%
def plain():
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def trained(model):
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*upright, batch_size=32, epochs=15, verbose=0)
    return model


ordinary = trained(plain())
equivariant = trained(to_equivariant(plain(), "C4"))
results = {}
for name, model in (("ordinary", ordinary), ("equivariant", equivariant)):
    results[name] = model.evaluate(x_test, y_test, verbose=0)[1]
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    print(f"{name:12} accuracy on turned digits {results[name]:.3f}, {weights:,} trainable weights")

# %% [markdown]
# The equivariant network is as wide and as fast, has fewer free weights, and gives turned images the same answer. (A 6 is
# still a 9 upside down: some errors are the digits' own.) As wide means: of its 32 channels 8 are independent, the others follow
# from them. With fewer than 8 networks often learn nothing; `to_equivariant(model, "D4", width=2)` makes twice as many.
#
# ## Trust, but measure
# `equivariance_error` turns inputs by each element of a group and compares outputs. Ask it *after* training: an ordinary batch
# normalisation, an uneven stride or `Flatten` break a symmetry that a fresh network seems to have.

# %%
print("rotations:           ", {k: f"{v:.0e}" for k, v in equivariance_error(equivariant, x_test[:50], "C4").items()})
print("rotations, mirrors:  ", {k: f"{v:.0e}" for k, v in equivariance_error(equivariant, x_test[:50], "D4").items()})

# %% [markdown]
# Elements 0 to 3 are rotations, 4 to 7 mirrors with rotations: this network promised rotations only, and mirrors do change its
# answer. Promise more with `"D4"`.
#
# ## Symmetry is structure
# A promise can be loosened in the middle of training. The function stays the same to the last bit; the layer gets more free
# weights, and training goes on with the optimizer's state.

# %%
convolutions = [name for name in equivariant.symmetries if "conv" in name]
before = equivariant.predict(x_test, verbose=0)
event = equivariant.relax(convolutions[-1], "C2")[0]
moved = np.abs(equivariant.predict(x_test, verbose=0) - before).max()
print(f"{event.axis}: {event.before:,} to {event.after:,} weights, outputs moved by {moved:.0e}")
equivariant.fit(*upright, batch_size=32, epochs=2, verbose=0)
print({name: group.name for name, group in equivariant.symmetries.items()})

# %% [markdown]
# And it can be tightened again, by averaging weights: `model.constrain(layer, "C4")`. For people without this library,
# `to_plain` writes stock layers.

# %%
exported = equivariant.to_plain()
print({type(layer).__name__ for layer in exported.layers})

# %%
assert results["equivariant"] > results["ordinary"] + 0.1
assert max(equivariance_error(trained(to_equivariant(plain(), "D4", width=2)), x_test[:50], "D4").values()) < 1e-4
assert np.allclose(exported.predict(x_test, verbose=0), equivariant.predict(x_test, verbose=0), atol=1e-4)
