"""DARTS networks have the sizes of the authors', and train with auxiliary classifier and dropped paths."""

import keras
import numpy as np
import pytest

from keras_struct.applications import darts_network, darts_supernet
from keras_struct.models import AuxiliaryModel, StructuralModel
from keras_struct.search import DARTS_V1, DARTS_V2

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

RNG = np.random.default_rng(0)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("channels", "layers", "shape", "expected"),
    [
        (16, 8, (32, 32, 3), 1930618),
        pytest.param(8, 8, (32, 32, 3), 597890, marks=pytest.mark.slow),
        pytest.param(8, 4, (32, 32, 3), 347298, marks=pytest.mark.slow),
        (4, 3, (32, 32, 3), 72854),
        (8, 4, (28, 28, 1), 346866),
    ],
)
def test_supernets_have_as_many_parameters_as_the_authors(channels, layers, shape, expected):
    assert trainable(darts_supernet(shape, 10, channels, layers)) == expected


@pytest.mark.parametrize(
    ("genotype", "channels", "layers", "expected", "with_auxiliary"),
    [
        (DARTS_V1, 36, 20, 3169414, 3645840),
        (DARTS_V2, 36, 20, 3349342, 3825768),
        (DARTS_V1, 8, 4, 28114, None),
        (DARTS_V2, 8, 4, 29642, None),
    ],
)
def test_networks_have_as_many_parameters_as_the_authors(genotype, channels, layers, expected, with_auxiliary):
    model = darts_network(genotype, (32, 32, 3), 10, channels, layers, auxiliary=0.4 if with_auxiliary else 0)
    own = sum(trainable(layer) for layer in model.layers if not layer.name.startswith("auxiliary"))
    assert own == expected
    assert trainable(model) == (with_auxiliary or expected)
    assert isinstance(model, StructuralModel)


def test_the_auxiliary_classifier_adds_to_the_loss_of_training_only(tmp_path):
    keras.utils.set_random_seed(0)
    model = darts_network(DARTS_V2, (16, 16, 3), 4, 2, 3, auxiliary=0.4)
    assert isinstance(model, AuxiliaryModel)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = RNG.random((8, 16, 16, 3)).astype("float32"), np.arange(8) % 4
    both = [np.array(keras.ops.convert_to_numpy(part)) for part in model(x, training=True)]
    entropies = [-np.log(part[np.arange(8), y]).mean() for part in both]
    found = float(keras.ops.convert_to_numpy(model.compute_loss(x, y, [keras.ops.convert_to_tensor(p) for p in both])))
    assert found == pytest.approx(entropies[0] + 0.4 * entropies[1], rel=1e-4)
    right, wrong = (keras.ops.one_hot((y + shift) % 4, 4) for shift in (0, 1))
    assert float(model.compute_metrics(x, y, [right, wrong])["accuracy"]) == 1.0
    model.fit(x, y, verbose=0)
    scores = model.evaluate(x, y, verbose=0, return_dict=True)
    probabilities = model.predict(x, verbose=0)
    assert probabilities.shape == (8, 4)
    assert scores["loss"] == pytest.approx(-np.log(probabilities[np.arange(8), y]).mean(), rel=1e-3)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.auxiliary == 0.4
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), probabilities)


def test_penalties_count_once_beside_two_losses():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(2, kernel_regularizer="l2")(inputs), keras.layers.Dense(2)(inputs)
    model = AuxiliaryModel(inputs, list(outputs))
    model.compile("sgd", "mse")
    x, y = RNG.random((6, 3)), RNG.random((6, 2))
    both = model(x, training=True)
    errors = [float(keras.ops.mean((part - y) ** 2)) for part in both]
    penalty = 0.01 * float(keras.ops.sum(model.layers[1].kernel ** 2))
    assert float(model.compute_loss(x, y, both)) == pytest.approx(errors[0] + 0.4 * errors[1] + penalty)


def test_a_model_inside_another_has_its_first_output():
    inputs = keras.Input((3,))
    model = AuxiliaryModel(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(5)(inputs)])
    assert model(keras.Input((3,))).shape == (None, 2)
    assert [part.shape for part in model(keras.Input((3,)), training=True)] == [(None, 2), (None, 5)]


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 16, 3), (32, 32, 3), (16, 48, 1), (48, 16, 1)])
def test_images_of_any_size_that_halves_twice_have_an_auxiliary_classifier(shape):
    model = darts_network(DARTS_V1, shape, 10, 4, 3, auxiliary=0.4)
    assert model(np.zeros((2, *shape), "float32"), training=True)[1].shape == (2, 10)


def test_images_whose_size_is_not_known_have_an_auxiliary_classifier():
    model = darts_network(DARTS_V1, (None, None, 3), 10, 4, 3, auxiliary=0.4)
    for size in (8, 20, 32):
        assert model(np.zeros((2, size, size, 3), "float32"), training=True)[1].shape == (2, 10)


def test_large_images_have_a_stem_of_three_halvings():
    model = darts_network(DARTS_V2, (64, 64, 3), 5, 4, 4, stem="imagenet", auxiliary=0.4)
    assert model.get_layer("cell_0").output.shape[1] == 8
    assert [model.get_layer(f"stem_{i}").filters for i in range(3)] == [2, 4, 4]
    assert model(np.zeros((2, 64, 64, 3), "float32")).shape == (2, 5)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: darts_supernet((32, 32, 3), 10, 4, 2), "needs 3 cells at least"),
        (lambda: darts_supernet((30, 30, 3), 10, 4, 3), "halves images of 15 x 15: expected even numbers"),
        (lambda: darts_supernet((32, 32, 3), 10, 4, 3, reductions=[5]), "`reductions` must be among the cells 0 to 2"),
        (lambda: darts_network(DARTS_V1, stem="large"), "`stem` must be"),
        (lambda: darts_network("V1"), "Cannot read a genotype"),
    ],
)
def test_networks_that_cannot_be_are_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


@pytest.mark.parametrize(("activation", "normalized"), [("softmax", False), ("crb", True)])
def test_nodes_are_normalised_where_weights_need_not_add_up_to_one(activation, normalized):
    model = darts_supernet((4, 4, 1), 2, 2, 1, nodes=1, reductions=[], activation=activation)
    assert model.get_layer("cell_0").get_config()["normalize_nodes"] == normalized


def test_cells_may_halve_anywhere_or_nowhere():
    assert darts_supernet((4, 4, 1), 2, 2, 1, nodes=1, reductions=[0]).get_layer("cell_0").output.shape[1:] == (2, 2, 4)
    assert darts_supernet((7, 7, 1), 2, 2, 1, nodes=1, reductions=[]).get_layer("cell_0").output.shape[1:] == (7, 7, 2)


def test_more_and_more_paths_are_dropped_from_epoch_to_epoch():
    from keras_struct.callbacks import DropPathSchedule

    model = darts_network(DARTS_V1, (8, 8, 1), 2, 2, 3, drop_path=True)
    model.compile("sgd", "sparse_categorical_crossentropy")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            float(keras.ops.convert_to_numpy(model.get_layer("cell_1").drop_rate))
        )
    )
    x, y = RNG.random((8, 8, 8, 1)), np.arange(8) % 2
    model.fit(x, y, epochs=4, verbose=0, callbacks=[DropPathSchedule(0.2), watch])
    np.testing.assert_allclose(seen, [0, 0.05, 0.1, 0.15], atol=1e-6)
    schedule, rates = DropPathSchedule(0.2, epochs=2), []
    schedule.set_model(model)
    schedule.on_train_begin()
    for epoch in range(4):
        schedule.on_epoch_begin(epoch)
        rates.append(float(keras.ops.convert_to_numpy(model.get_layer("cell_1").drop_rate)))
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.2], atol=1e-6)
    with pytest.raises(ValueError, match="`rate` must be"):
        DropPathSchedule(1.0)
    plain = darts_network(DARTS_V1, (8, 8, 1), 2, 2, 3)
    plain.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="no cell that drops paths"):
        plain.fit(x, y, verbose=0, callbacks=[DropPathSchedule()])
