"""Files that earlier versions wrote load as they were, and their models train and change on. `make.py` wrote them."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_struct.core.model.parts import parts_of

HERE = Path(__file__).parent
NAMES = ("grown", "both", "masked", "symmetric", "chosen", "free")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((32, 6)).astype("float32"), RNG.standard_normal((32, 2)).astype("float32")
IMAGES = RNG.standard_normal((8, 6, 6, 1)).astype("float32")


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_computes_what_it_did_and_goes_on(name):
    model = keras.models.load_model(HERE / f"{name}.keras")
    x = IMAGES if name == "symmetric" else X
    np.testing.assert_allclose(model.predict(x, verbose=0), np.load(HERE / f"{name}.npy"), rtol=1e-4, atol=1e-5)
    steps, events = parts_of(model).progress.step, len(model.structure_log)
    assert events or name in ("both", "free")
    history = model.fit(x, Y[: len(x)], batch_size=8, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert parts_of(model).progress.step == steps + len(x) // 8


CHANGES = {"grown": lambda model: model.prune("h2", count=3), "symmetric": lambda model: model.relax("c", "C2")}


@pytest.mark.parametrize("name", CHANGES)
def test_weights_of_before_bring_their_structure_back(name):
    model = keras.models.load_model(HERE / f"{name}.keras")
    x = IMAGES if name == "symmetric" else X
    CHANGES[name](model)
    model.load_weights(HERE / f"{name}.weights.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), np.load(HERE / f"{name}.npy"), rtol=1e-4, atol=1e-5)
