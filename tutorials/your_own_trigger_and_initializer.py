# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Write your own trigger and initialisation
#
# A growth method is two small classes. We write both, twenty lines each, check them, and train with them.

# %%
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from keras_struct import StructuralModel, datasets
from keras_struct.initializers import Initializer
from keras_struct.layers import GrowableDense
from keras_struct.measurements import AxisMeasurement, Floats
from keras_struct.strategies import Grow
from keras_struct.testing import check_edit, check_initializer, check_trigger
from keras_struct.triggers import Trigger

digits = datasets.load("digits")
x, x_test = (part.reshape(len(part), 64) for part in (digits.x_train, digits.x_test))

# %% [markdown]
# ## When: a trigger
# It gets a *measurement* of one layer and its own *state*, and returns how many units to add, and the new state. It is a
# frozen dataclass: hyperparameters are its fields, and what it remembers is the state, which is saved with the model.
# `measured.gram()` is HᵀH/n of the layer's activations, computed when you ask; its diagonal holds each unit's mean square.
# `Trigger[dict[str, int]]` says what the state is: a dictionary of whole numbers.
#
# Ours adds a unit when hardly any unit is asleep.


# %%
@dataclass(frozen=True)
class NobodySleeps(Trigger[dict[str, int]]):
    """Add units while at most a share of the existing ones emits next to nothing."""

    share: float = 0.1
    quiet: float = 1e-3
    pause: int = 5

    needs_inputs = True  # keep recent inputs to measure on

    def init(self, measured: AxisMeasurement) -> dict[str, int]:
        return {"looks": 0}

    def __call__(self, measured: AxisMeasurement, state: dict[str, int]) -> tuple[int, dict[str, int]]:
        asleep = np.mean(np.diag(measured.gram()) < self.quiet)
        due = state["looks"] % self.pause == 0 and asleep <= self.share
        return int(due), {"looks": state["looks"] + 1}


# %% [markdown]
# ## How: an initializer
# It returns new weights by the name of their variable. `measured.fan_in` has an entry for each layer that makes the units
# (several where residual connections tie layers): its key, the weights `(..., units)`, and `expand`, which brings new ones
# into shape. What you leave out is zero; with zero *outgoing* weights the function does not change.


# %%
@dataclass(frozen=True)
class Differences(Initializer):
    """New units look along the difference of two existing ones."""

    def __call__(self, measured: AxisMeasurement, count: int, rng: np.random.Generator) -> Mapping[str, Floats]:
        first = rng.integers(0, measured.units, count)
        second = (first + rng.integers(1, measured.units, count)) % measured.units
        values = {}
        for fan in measured.fan_in:
            new = fan.weights[..., first] - fan.weights[..., second]
            values[fan.key] = fan.expand(new * fan.norms.mean() / np.linalg.norm(new, axis=0))
        return values


# %% [markdown]
# ## Do they keep the rules?
# The batteries are those that the library tests its own methods with.


# %%
def build():
    keras.utils.set_random_seed(0)
    hidden = GrowableDense(8, activation="relu", name="hidden")
    return keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10, activation="softmax")])


model = StructuralModel.from_model(build())
strategy = Grow(NobodySleeps(), Differences(), max_units=24)
adam = keras.optimizers.Adam(3e-3)
model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy, probe=x)
measured = model.measure("hidden")
check_trigger(NobodySleeps(), measured)
check_initializer(Differences(), measured)

# %% [markdown]
# `check_edit` tries a growth in mid-training: the function is kept, the optimizer's state too, every weight moves afterwards,
# and a saved model trains on with the same losses.

# %%
one_hot = keras.ops.convert_to_numpy(keras.ops.one_hot(digits.y_train[:32], 10))
checked = check_edit(build, lambda model: model.grow("hidden", 2, Differences()), x[:32], one_hot)

# %% [markdown]
# ## Train with them

# %%
model.fit(x, digits.y_train, batch_size=64, epochs=8, verbose=0)
accuracy = model.evaluate(x_test, digits.y_test, verbose=0)[1]
dict(model.structure.axes), round(accuracy, 3)

# %% [markdown]
# Saving works too, as long as your classes are defined where the model is loaded.

# %%
assert model.structure.axes["hidden"] > 8
assert accuracy > 0.85
