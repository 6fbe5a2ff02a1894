"""The recurrent cell of DARTS agrees with plain arithmetic, mixed and chosen, alone and in a model."""

import keras
import numpy as np
import pytest

from keras_struct import applications, layers, search
from keras_struct.models import StructuralModel

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

ops = keras.ops


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "sigmoid": sigmoid, "identity": lambda x: x}


def normalized(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def by_hand(cell, xs, weights=None, genes=None):
    """Outputs of all steps as the paper defines them; xs is (steps, batch, features)."""
    first, kernels = (np.asarray(ops.convert_to_numpy(w), np.float64) for w in (cell.input_kernel, cell.kernel))
    h, found = np.zeros((xs.shape[1], cell.units)), []
    norm = normalized if genes is None else (lambda x: x)
    for x in xs:
        c, new = np.split(np.concatenate([x, h], 1) @ first, 2, 1)
        states = [norm(h + sigmoid(c) * (np.tanh(new) - h))]
        for i in range(1, cell.nodes + 1):
            total = 0
            edges = range(i) if genes is None else [genes[i - 1][1]]
            for j in edges:
                c, g = np.split(states[j] @ kernels[i - 1], 2, 1)
                if genes is None:
                    for k, name in enumerate(search.ACTIVATIONS[1:], start=1):
                        step = states[j] + sigmoid(c) * (FUNCTIONS[name](g) - states[j])
                        total = total + weights[i * (i - 1) // 2 + j, k] * step
                else:
                    total = states[j] + sigmoid(c) * (FUNCTIONS[genes[i - 1][0]](g) - states[j])
            states.append(norm(total))
        h = np.mean([states[i] for i in cell.concat], axis=0)
        found.append(h)
    return np.stack(found)


def randomized(layer, seed, scale=0.5):
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    return layer


def test_a_mixed_cell_is_the_sum_over_all_activations_of_all_predecessors():
    rng = np.random.default_rng(0)
    layer = layers.DartsRNN(5, nodes=4)
    x = rng.normal(size=(3, 6, 7)).astype("float32")
    weights = rng.dirichlet(np.ones(5), 10).astype("float32")
    layer([x, weights])
    randomized(layer, 1)
    expected = by_hand(layer.cell, x.transpose(1, 0, 2).astype(np.float64), weights.astype(np.float64))
    found = ops.convert_to_numpy(layer([x, weights], training=True))
    np.testing.assert_allclose(found.transpose(1, 0, 2), expected, atol=2e-4)


@pytest.mark.parametrize(
    ("genes", "concat"),
    [
        ([("tanh", 0), ("relu", 1), ("sigmoid", 0), ("identity", 3)], None),
        ([("relu", 0), ("tanh", 0)], [2]),
    ],
)
def test_a_chosen_cell_has_one_predecessor_and_one_activation_a_node(genes, concat):
    x = np.random.default_rng(2).normal(size=(3, 4, 6)).astype("float32")
    cell = layers.DartsRNNCell(6, genes, concat)
    rnn = keras.layers.RNN(cell, return_sequences=True)
    rnn(x)
    randomized(cell, 3)
    expected = by_hand(cell, x.transpose(1, 0, 2).astype(np.float64), genes=genes)
    np.testing.assert_allclose(ops.convert_to_numpy(rnn(x)).transpose(1, 0, 2), expected, atol=1e-5)


@pytest.mark.usefixtures("compiled")  # there are many steps
def test_inference_uses_statistics_of_training_of_each_node():
    rng = np.random.default_rng(4)
    layer = layers.DartsRNN(4, nodes=3)
    x, weights = rng.normal(size=(64, 1, 4)).astype("float32"), np.full((6, 5), 0.2, "float32")
    inputs = keras.Input((1, 4))
    model = keras.Model(inputs, layer([inputs, ops.convert_to_tensor(weights)]))
    randomized(layer, 5)
    model.compile(keras.optimizers.SGD(0.0), "mse")  # moves statistics only
    for _ in range(90):
        model.train_on_batch(x, np.zeros((64, 1, 4)))
    trained = layer([x, weights], training=True)
    inferred = ops.convert_to_numpy(layer([x, weights], training=False))
    np.testing.assert_allclose(
        inferred, ops.convert_to_numpy(trained), rtol=0.05, atol=0.01
    )  # variances there are unbiased
    variance = ops.convert_to_numpy(layer.cell.moving_variance).mean(axis=1)
    assert variance[3] > 2 * variance[1], "nodes with more predecessors vary more"


def test_published_numbers_of_parameters():
    def count(model):
        return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)

    assert count(applications.darts_language_supernet(10000)) == 4_810_000
    for genotype in (search.DARTS_RNN_V1, str(search.DARTS_RNN_V2)):
        assert count(applications.darts_language_model(genotype, 10000)) == 22_960_000


def test_kernels_begin_uniformly_as_published():
    keras.utils.set_random_seed(0)
    cell = layers.DartsRNNCell(20, genes=[("tanh", 0)])
    cell.build((None, 30))
    for kernel, shape in ((cell.input_kernel, (50, 40)), (cell.kernel, (1, 20, 40))):
        assert kernel.shape == shape
        values = ops.convert_to_numpy(kernel)
        assert 0.039 < values.max() <= 0.04
        assert 0.039 < -values.min() <= 0.04


def test_statistics_remember_a_tenth_of_each_batch():
    rng, cell = np.random.default_rng(0), layers.DartsRNNCell(4, genes=[("tanh", 0)], normalize=True)
    cell.build((8, 3))
    randomized(cell, 1)
    mean, variance = np.zeros(4), np.ones(4)
    for _ in range(2):
        x, h = (rng.normal(size=(8, units)).astype("float32") for units in (3, 4))
        cell(x, [h], training=True)
        gate, new = np.split(np.hstack([x, h]) @ ops.convert_to_numpy(cell.input_kernel), 2, 1)
        state = h + sigmoid(gate) * (np.tanh(new) - h)
        mean, variance = 0.9 * mean + 0.1 * state.mean(0), 0.9 * variance + 0.1 * state.var(0, ddof=1)
    np.testing.assert_allclose(cell.moving_mean[0], mean, rtol=1e-4)
    np.testing.assert_allclose(cell.moving_variance[0], variance, rtol=1e-4)


def test_supernets_mix_all_activations_and_clipped_weights_need_no_none():
    for activation, expected in (("softmax", search.ACTIVATIONS), ("crb", search.ACTIVATIONS[1:])):
        model = applications.darts_language_supernet(7, 4, nodes=2, activation=activation, embedding_dropout=0.0)
        assert model.get_layer("alpha_recurrent").operations == expected
        assert "embedding_dropout" not in [layer.name for layer in model.layers]


def test_inputs_and_states_are_left_out_by_masks_in_training_only():
    rng, genes = np.random.default_rng(0), [("tanh", 0), ("relu", 1)]
    x, h = (rng.normal(size=(6, units)).astype("float32") for units in (3, 4))
    cell = layers.DartsRNNCell(4, genes=genes, dropout=0.5)
    cell.build((6, 3))
    randomized(cell, 1)
    mask = cell.get_dropout_mask(ops.convert_to_tensor(x))
    assert set(np.unique(ops.convert_to_numpy(mask))) == {0, 2}
    expected, other = (ops.convert_to_numpy(cell(each, [h])[0]) for each in (x * mask, x))
    np.testing.assert_allclose(cell(x, [h], training=True)[0], expected, rtol=1e-5)
    assert np.abs(expected - other).max() > 1e-2


def test_what_is_left_out_is_the_same_in_all_steps():
    keras.utils.set_random_seed(0)
    model = applications.darts_language_model(
        search.DARTS_RNN_V2, 9, 12, dropout=0.5, embedding_dropout=0, input_dropout=0, recurrent_dropout=0
    )
    head = keras.Model(model.inputs[0], model.get_layer("output_dropout").output)
    found = ops.convert_to_numpy(head(np.ones((2, 30), "int32"), training=True))
    gone = (found == 0).all(axis=1)
    assert 4 <= gone.sum() <= 20
    assert np.array_equal(gone, (found == 0).any(axis=1))
    assert not np.array_equal(gone[0], gone[1])


def test_words_are_left_out_everywhere_and_strengthened_elsewhere():
    keras.utils.set_random_seed(1)
    embedding = layers.WordEmbedding(40, 3, dropout=0.5)
    words = np.array([[0, 1, 2, 3] * 5, list(range(20))])
    plain, dropped = (ops.convert_to_numpy(embedding(words, training=t)) for t in (False, True))
    factors = np.unique((dropped / plain).round(4), axis=-1)
    assert factors.shape[-1] == 1
    assert set(factors.ravel()) == {0.0, 2.0}
    first = factors[0, :, 0].reshape(5, 4)
    assert (first == first[0]).all(), "a word that is left out is left out everywhere"
    scores = ops.convert_to_numpy(embedding(plain, decode=True, training=True))
    np.testing.assert_allclose(scores, plain @ ops.convert_to_numpy(embedding.embeddings).T, rtol=1e-5)


def test_words_begin_uniformly_between_bounds():
    embedding = layers.WordEmbedding(500, 8)
    embedding(np.array([[0]]))
    values = ops.convert_to_numpy(embedding.embeddings)
    assert -0.04 <= values.min() < -0.039 < 0.039 < values.max() <= 0.04
    assert abs(values.mean()) < 0.002


def test_differences_of_successive_outputs_are_penalised_in_training_only():
    layer = layers.DartsRNN(4, genes=[("tanh", 0)], temporal_regularization=0.5)
    x = np.random.default_rng(6).normal(size=(2, 5, 3)).astype("float32")
    layer(x)
    assert layer.losses == []
    randomized(layer, 7)
    outputs = ops.convert_to_numpy(layer(x, training=True))
    assert float(layer.losses[0]) == pytest.approx(0.5 * np.mean(np.diff(outputs, axis=1) ** 2), rel=1e-4)


def test_sequences_go_on_where_those_before_ended_until_they_are_reset():
    whole = np.random.default_rng(8).normal(size=(2, 8, 3)).astype("float32")
    layer = layers.DartsRNN(4, genes=[("tanh", 0), ("relu", 1)], stateful=True)
    x = keras.Input(batch_shape=(2, None, 3))
    model = keras.Model(x, layer(x))
    at_once = ops.convert_to_numpy(model(whole))
    layer.reset_state()
    pieces = [ops.convert_to_numpy(model(whole[:, start : start + 4])) for start in (0, 4)]
    np.testing.assert_allclose(np.concatenate(pieces, 1), at_once, atol=1e-6)


def test_a_choice_keeps_the_weights_and_is_saved(tmp_path):
    keras.utils.set_random_seed(3)
    supernet = applications.darts_language_supernet(11, 6, nodes=3)
    x = np.random.default_rng(9).integers(0, 11, (4, 3))
    supernet.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    supernet.fit(x, x, verbose=0)
    wanted = search.RecurrentGenotype((("relu", 0), ("identity", 0), ("tanh", 2)), (1, 2, 3))
    weights = supernet.weights_of("rnn")
    weights.alpha.assign(np.log(1e-9 + chosen_weights(wanted, weights.operations)))
    before = ops.convert_to_numpy(supernet(x))
    kernel = ops.convert_to_numpy(supernet.get_layer("rnn").cell.kernel)
    events = supernet.choose()
    assert supernet.get_layer("rnn").genes == wanted.recurrent
    assert "chosen" in events[0].reason
    np.testing.assert_array_equal(ops.convert_to_numpy(supernet.get_layer("rnn").cell.kernel), kernel)
    np.testing.assert_allclose(ops.convert_to_numpy(supernet(x)), before, atol=1e-5)
    supernet.fit(x, x, verbose=0)
    after = ops.convert_to_numpy(supernet(x))
    supernet.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, StructuralModel)
    np.testing.assert_allclose(ops.convert_to_numpy(loaded(x)), after, atol=1e-6)


def chosen_weights(genotype, operations):
    """Weights that are all at what a genotype has; edges that it does not have read nothing."""
    found = np.zeros((6, len(operations)))
    found[:, operations.index("none")] = 1
    for i, (name, j) in enumerate(genotype.recurrent, start=1):
        found[i * (i - 1) // 2 + j] = np.eye(len(operations))[operations.index(name)]
    return found


def test_any_genotype_of_the_right_kind_and_size_can_be_chosen():
    supernet = applications.darts_language_supernet(5, 4, nodes=8)
    with pytest.raises(ValueError, match="needs a RecurrentGenotype"):
        supernet.choose(search.DARTS_V2)
    assert supernet.get_layer("rnn").weighted
    supernet.choose(str(search.DARTS_RNN_V1))
    assert supernet.get_layer("rnn").genes == search.DARTS_RNN_V1.recurrent
    with pytest.raises(ValueError, match="nothing to choose"):
        supernet.choose()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: layers.DartsRNNCell(4, [("tanh", 1)]), "reads state 1: expected 0 to 0"),
        (lambda: layers.DartsRNNCell(4, [("swish", 0)]), "Unknown operation 'swish'"),
        (lambda: layers.DartsRNNCell(4, operations=["tanh", "tanh"]), "each once"),
        (lambda: layers.DartsRNNCell(4, [("tanh", 0)], [2]), "outputs states"),
        (lambda: layers.DartsRNNCell(4, dropout=1.0), "from 0 up to 1"),
        (lambda: keras.layers.RNN(layers.DartsRNNCell(4))(np.zeros((1, 2, 3))), "Use DartsRNN"),
        (lambda: layers.DartsRNN(4)(np.zeros((1, 2, 3))), "weights of ArchitectureWeights"),
        (lambda: layers.WordEmbedding(0, 4), "vocabulary"),
        (lambda: layers.WordEmbedding(4, 4, dropout=-0.1), "from 0 up to 1"),
        (
            lambda: applications.darts_language_model("Genotype(recurrent=[('tanh', 3)], concat=[1])", 5),
            "reads state 3",
        ),
    ],
)
def test_cells_that_cannot_be_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
