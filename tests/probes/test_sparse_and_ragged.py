"""Sparse and ragged inputs are measured as the same inputs in full are."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, selectors, strategies
from keras_struct.initializers import Select
from keras_struct.probes import InputBuffer
from keras_struct.schedules import Linear

layers = keras.layers
tf = pytest.importorskip("tensorflow")
X = (np.random.default_rng(0).random((12, 20)) > 0.8).astype("float32")
Y = np.random.default_rng(1).standard_normal((12, 2)).astype("float32")


def wide(sparse=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((20,), sparse=sparse)
    return StructuralModel(inputs, layers.Dense(2)(layers.Dense(4, activation="tanh", name="h")(inputs)))


def words():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None,), ragged=True, dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 3, name="e")(inputs))
    return StructuralModel(inputs, layers.Dense(2)(layers.Dense(4, activation="tanh", name="h")(x)))


SENTENCES = tf.ragged.constant([[1, 2], [3], [4, 5, 6], [7, 8, 1, 2], [3, 3], [5]], dtype="int32")


def sparse_kinds():
    found = {"tensor": tf.sparse.from_dense(X)}
    try:
        import scipy.sparse
    except ImportError:
        return found
    return found | {"scipy": scipy.sparse.csr_matrix(X)}


@pytest.mark.parametrize("kind", sparse_kinds())
def test_a_sparse_probe_tells_what_the_full_one_does(kind):
    full, sparse = wide(), wide()
    full.compile("sgd", "mse", probe=X, targets=Y)
    sparse.compile("sgd", "mse", probe=sparse_kinds()[kind], targets=Y)
    expected, found = full.measure("h"), sparse.measure("h")
    kernels = np.random.default_rng(2).standard_normal((20, 3)).astype("float32")
    for part in (
        lambda m: m.gram(),
        lambda m: m.input_gram(),
        lambda m: m.candidates(kernels)[0],
        lambda m: m.gradients.gates(),
        lambda m: m.gradients.losses_without(),
        lambda m: m.gradients.auxiliary(),
        lambda m: m.gradients.norms()[0],
    ):
        np.testing.assert_allclose(part(found), part(expected), rtol=1e-4, atol=1e-6)
    assert sparse.grow("h", 1).change < 1e-6


@pytest.mark.parametrize(
    ("strategy", "data"),
    [
        (strategies.NorthSelect(max_units=6), "dataset"),
        (strategies.GradMax(max_units=6), "dataset"),
        (strategies.Dyno(), "tensor"),
    ],
)
def test_strategies_train_on_sparse_batches(strategy, data):
    model, sparse = wide(), tf.sparse.from_dense(X)
    model.compile("adam", "mse", strategy=strategy, run_eagerly=True)
    if data == "dataset":
        weights = np.ones(12, "float32")
        history = model.fit(tf.data.Dataset.from_tensor_slices((sparse, Y, weights)).batch(4), shuffle=False, verbose=0)
    else:
        history = model.fit(sparse, Y, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(event.change is not None for event in history.structure)


def test_a_buffer_keeps_the_newest_samples_of_sparse_and_ragged_batches():
    buffer = InputBuffer(5)
    for start in (0, 4, 8):
        buffer.add(tf.sparse.from_dense(X[start : start + 4]))
    np.testing.assert_array_equal(tf.sparse.to_dense(buffer.inputs()), np.concatenate([X[8:], X[4:5]]))
    buffer = InputBuffer(3)
    buffer.add(SENTENCES[:2])
    buffer.add(SENTENCES[2:4])
    assert buffer.inputs().to_list() == [[4, 5, 6], [7, 8, 1, 2], [1, 2]]


def test_ragged_sentences_are_measured_word_by_word():
    model, targets = words(), Y[:6]
    model.compile("sgd", "mse", probe=SENTENCES, targets=targets)
    table = np.asarray(model.get_layer("e").embeddings)
    rows = table[np.concatenate(SENTENCES.to_list())]
    measured = model.measure("e")
    np.testing.assert_allclose(measured.gram(), rows.T @ rows / len(rows), rtol=1e-4)
    assert measured.samples() == len(rows)
    assert model.grow("e", 1, Select(candidates=4)).change < 1e-6
    losses = selectors.Perturbation().scores(model.measure("h"))
    assert losses.shape == (4,)


@pytest.mark.filterwarnings("ignore:NorthSelect, axis")
@pytest.mark.parametrize("strategy", [strategies.NorthSelect(max_units=6), strategies.GradMax(max_units=6)])
def test_strategies_train_on_ragged_batches(strategy):
    model = words()
    model.compile("adam", "mse", strategy=strategy, run_eagerly=True)
    history = model.fit(SENTENCES, Y[:6], batch_size=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_units_of_sparse_networks_are_pruned_while_they_train():
    model = wide()
    strategy = strategies.Prune(selector=selectors.Taylor(), schedule=Linear(2, 3))
    model.compile("adam", "mse", strategy=strategy, run_eagerly=True)
    assert model.fit(tf.sparse.from_dense(X), Y, batch_size=4, verbose=0).structure[-1].after == 2
