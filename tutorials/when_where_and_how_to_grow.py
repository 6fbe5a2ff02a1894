# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Choosing when, where and how to grow
#
# Growth is three questions. *When and where, and how many units?* A **trigger** answers, for each layer. *With which
# weights?* An **initializer** answers. Any of the one goes with any of the other. Which should you take? We try them on one
# problem and read the plots. You should have seen *Your first network that grows*.

# %%
import keras
import numpy as np

from keras_struct import StructuralModel, datasets, initializers, triggers
from keras_struct.activations import relu1
from keras_struct.layers import GrowableDense
from keras_struct.schedules import EveryNSteps, Linear
from keras_struct.strategies import GradMax, Grow, NorthRandom, NorthSelect, NorthWeight
from keras_struct.visualization import plot_widths

data = datasets.independent_features(n_features=64, n_independent=16, samples=2000, seed=1)
data.x_train.shape, np.linalg.matrix_rank(data.x_train)

# %% [markdown]
# The inputs look 64-dimensional, and 48 of the features are combinations of the other 16. A good method notices.
#
# `relu1` is ReLU whose derivative at 0 is 1. Methods that give new units no *incoming* weights need it: under plain ReLU such
# units would never learn, and the library says so.


# %%
def train(strategy, probe=None):
    keras.utils.set_random_seed(1)
    hidden = [GrowableDense(4, activation=relu1, name=name) for name in ("first", "second")]
    model = StructuralModel([keras.Input((64,)), *hidden, keras.layers.Dense(2, activation="softmax")])
    adam = keras.optimizers.Adam(3e-3)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"], strategy=strategy, probe=probe)
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=8, verbose=0)
    return model, model.evaluate(data.x_test, data.y_test, verbose=0)[1]


# %% [markdown]
# ## When and where: four signals
# * **activations**: as long as the units of a layer differ on recent inputs (`EffectiveDimension`, used by `NorthSelect`);
# * **weights**: as long as their incoming weights differ, which needs no data (`WeightEffectiveDimension`);
# * **gradients**: while a new unit would learn faster than the old ones together (`AuxiliaryGradient`, used by `GradMax`);
# * **the loss**: when it has stopped falling (`Convergence`).
#
# Thresholds are relative to the width. These layers start with 4 units, so we allow for more redundancy than the papers,
# which start with 64 and use 0.97 and 0.99.

# %%
limit = {"max_units": 32, "schedule": EveryNSteps(5)}
strategies = {
    "activations": NorthSelect(triggers.EffectiveDimension(gamma=0.7), **limit),
    "weights": NorthWeight(triggers.WeightEffectiveDimension(gamma=0.7), **limit),
    "gradients": GradMax(triggers.AuxiliaryGradient(threshold_factor=0.2), **limit),
    "loss": Grow(triggers.Convergence(units=2, window=4, threshold=0.2), initializers.RandomFanIn(), **limit),
}
results = {name: train(strategy) for name, strategy in strategies.items()}
for name, (model, accuracy) in results.items():
    print(
        f"{name:12} widths {list(model.structure.axes.values())}  accuracy {accuracy:.3f}  events {len(model.structure_log)}"
    )

# %% [markdown]
# Signals from activations and weights look at each layer by itself; gradients ask the task. The plot shows when each
# layer stopped.

# %%
plot_widths(results["activations"][0])

# %%
plot_widths(results["gradients"][0])

# %% [markdown]
# ## How: the same growth with different weights
# A schedule fixes when and how many, so that only the weights differ. With a `probe`, every event also tells how far the
# outputs moved on it.

# %%
kinds = {
    "random": initializers.RandomFanIn(),
    "most different of 100": initializers.Select(candidates=100),
    "largest gradient": initializers.LargestGradient(),
    "copies with noise": initializers.CopyAndPerturb(noise=0.1),
}
probe = data.x_train[:256]
same = {
    name: train(Grow(initializer=kind, schedule=Linear(12, 150), max_units=16), probe) for name, kind in kinds.items()
}
for name, (model, accuracy) in same.items():
    change = max(event.change for event in model.structure_log)
    print(
        f"{name:24} {list(model.structure.axes.values())}  accuracy {accuracy:.3f}  outputs moved at most {change:.1e}"
    )

# %% [markdown]
# Three of the four do not disturb what was learned: outputs move by rounding errors only. "Largest gradient" cannot make more
# units at a time than the next layer has; it then says so, once.
#
# ## Rules of thumb
# * No idea, and labels are expensive: `NorthSelect`, or `NorthRandom` where every millisecond counts.
# * A budget instead of a threshold: any strategy takes `max_parameters=` or `max_flops=` for the whole model.
# * A fixed plan, as in the GradMax paper: `GradMax(FractionOfWidth(0.25), schedule=EveryNSteps(2500, start=10000))`.
# * Looking less often is nearly free: `schedule=EveryNSteps(10)`.

# %%
budgeted, _ = train(NorthRandom(triggers.EffectiveDimension(gamma=0.7), max_parameters=1500, **limit))
budgeted.count_params()

# %%
assert budgeted.count_params() <= 1500
assert max(event.change for event in same["largest gradient"][0].structure_log) < 1e-4
assert max(event.change for event in same["copies with noise"][0].structure_log) > 1e-4
