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
# # Tune a growing network with KerasTuner, on several processes
#
# A network that sizes itself still has hyperparameters: when it grows, from which width on, how fast it learns. Any tuner of
# KerasTuner can choose them, and several processes can share the work. This takes a minute on two cores.

# %%
import json
import tempfile
from pathlib import Path

import keras
import keras_tuner as kt

from keras_struct import StructuralModel, datasets
from keras_struct.layers import GrowableDense
from keras_struct.strategies import NorthSelect
from keras_struct.triggers import EffectiveDimension
from keras_struct.tuners import StructuralHyperModel, launch_local

keras.utils.set_random_seed(0)
data = datasets.load("digits")
x, y = data.x_train.reshape(-1, 64), data.y_train
x_test, y_test = data.x_test.reshape(-1, 64), data.y_test
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## What to tune
#
# `build` makes the network, `strategy` says how it grows; both may ask for hyperparameters.

# %%


def build(hp):
    hidden = GrowableDense(hp.Int("initial units", 4, 16), activation="relu", name="hidden")
    return StructuralModel([keras.Input((64,)), hidden, keras.layers.Dense(10, activation="softmax")])


def strategy(hp):
    return NorthSelect(EffectiveDimension(hp.Float("gamma", 0.7, 1.0)), max_units=48)


space = StructuralHyperModel(
    build, strategy, keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", ["accuracy"], "val_accuracy"
)

# %% [markdown]
# ## In this process
#
# This is KerasTuner as you know it. The best models come back with the widths that they had grown to in their best epoch.

# %%
tuner = kt.RandomSearch(space, objective="val_accuracy", max_trials=3, seed=1, directory=folder, project_name="alone")
tuner.search(x, y, epochs=5, validation_data=(x_test, y_test), verbose=0)
best = tuner.get_best_models()[0]
print(tuner.get_best_hyperparameters()[0].values)
print(best.structure.axes, best.evaluate(x_test, y_test, verbose=0, return_dict=True))
assert best.structure.axes["hidden"] >= tuner.get_best_hyperparameters()[0].values["initial units"]

# %% [markdown]
# ## In several processes
#
# Put the same lines into a script. `launch_local` starts it once as a chief, which hands out trials, and once for each worker.
# The script does not change: what it is, it learns from environment variables. A worker that dies is started again.

# %%
script = folder / "search.py"
script.write_text(
    """
import sys
import keras
import keras_tuner as kt
from keras_struct import StructuralModel, datasets
from keras_struct.layers import GrowableDense
from keras_struct.strategies import NorthSelect
from keras_struct.triggers import EffectiveDimension
from keras_struct.tuners import StructuralHyperModel

data = datasets.load("digits")
x, y = data.x_train.reshape(-1, 64), data.y_train
x_test, y_test = data.x_test.reshape(-1, 64), data.y_test


def build(hp):
    hidden = GrowableDense(hp.Int("initial units", 4, 16), activation="relu", name="hidden")
    return StructuralModel([keras.Input((64,)), hidden, keras.layers.Dense(10, activation="softmax")])


space = StructuralHyperModel(
    build,
    lambda hp: NorthSelect(EffectiveDimension(hp.Float("gamma", 0.7, 1.0)), max_units=48),
    keras.optimizers.Adam(3e-3),
    "sparse_categorical_crossentropy",
    ["accuracy"],
    "val_accuracy",
)
tuner = kt.RandomSearch(space, objective="val_accuracy", max_trials=4, directory=sys.argv[1], project_name="shared")
tuner.search(x, y, epochs=5, validation_data=(x_test, y_test), verbose=0)
"""
)
codes = launch_local(script, workers=2, arguments=[str(folder)])
print(codes)
assert set(codes.values()) == {0}

# %%
trials = [json.loads(path.read_text()) for path in sorted((folder / "shared").glob("trial_*/trial.json"))]
for trial in sorted(trials, key=lambda trial: -trial["score"]):
    print(f"{trial['score']:.3f}  {trial['hyperparameters']['values']}")
assert len(trials) == 4

# %% [markdown]
# Whole searches for architectures are tuned in the same way: `DartsPrimeTuner`, `EquiNASDTuner` and `EquiNASETuner` in
# `keras_struct.tuners`. These can be resumed at any moment, also in their first trial.
