"""A trained network gets a new head, and its structure stays open."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, transfer

X = np.random.default_rng(0).random((4, 8, 8, 3)).astype("float32")
layers = keras.layers


def compute(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def values(variable):
    return keras.ops.convert_to_numpy(variable)


def features():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(inputs)
    return inputs, layers.BatchNormalization(name="bn")(x)


def dense_head():
    inputs, x = features()
    return keras.Model(inputs, layers.Dense(7, activation="softmax", name="top")(layers.Flatten()(x)))


def separate_softmax():
    inputs, x = features()
    x = layers.Dense(7, name="top")(layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, layers.Softmax()(layers.Dropout(0.1)(x)))


def pointwise_head():
    inputs, x = features()
    x = layers.Conv2D(7, 1, name="top")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, layers.Activation("softmax")(layers.Reshape((7,))(x)))


def sequential():
    stack = [layers.Conv2D(6, 3, name="conv"), layers.BatchNormalization(), layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 3)), *stack, layers.Dense(7, activation="softmax", name="top")])


HEADS = [dense_head, separate_softmax, pointwise_head, sequential]


@pytest.mark.parametrize("build", HEADS, ids=lambda build: build.__name__)
def test_the_head_is_replaced_and_features_keep_their_weights(build):
    model = build()
    new = transfer(model, num_classes=3)
    assert isinstance(new, StructuralModel)
    assert new.output_shape == (None, 3)
    assert compute(new, X).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(values(new.get_layer("conv").kernel), values(model.get_layer("conv").kernel))
    assert new.get_layer("top").kernel.shape[-1] == 3
    assert "conv" in new.structure.axes
    assert model.output_shape == (None, 7)  # the old model is as it was


@pytest.mark.parametrize("build", HEADS, ids=lambda build: build.__name__)
def test_classes_that_are_kept_keep_their_weights(build):
    model = build()
    model.set_weights([np.random.default_rng(1).random(w.shape) for w in model.get_weights()])
    new = transfer(model, classes=[5, 0, 2])
    chosen = compute(model, X)[:, [5, 0, 2]]
    assert np.allclose(compute(new, X), chosen / chosen.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_network_without_head_gets_one_behind_its_compute():
    model = keras.Model(*features())
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        new = transfer(model, num_classes=2, pooling=pooling, dropout=0.5, activation=None)
        head = new.get_layer("predictions")
        expected = reduce(compute(model, X), axis=(1, 2)) @ values(head.kernel) + values(head.bias)
        assert np.allclose(compute(new, X), expected, atol=1e-5)


def test_a_named_layer_says_where_features_end():
    new = transfer(dense_head(), num_classes=2, features="conv")
    assert "bn" not in {layer.name for layer in new.layers}
    assert new.output_shape == (None, 2)


@pytest.mark.usefixtures("eager")
def test_a_transferred_network_trains_grows_saves_and_loads(tmp_path):
    new = transfer(separate_softmax(), num_classes=3)
    new.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    new.fit(X, np.array([0, 1, 2, 0]), verbose=0)
    new.grow("conv", 2)
    new.fit(X, np.array([0, 1, 2, 0]), verbose=0)
    new.save(tmp_path / "new.keras")
    loaded = keras.models.load_model(tmp_path / "new.keras")
    assert loaded.structure.axes == new.structure.axes
    assert np.array_equal(compute(loaded, X), compute(new, X))


def two_outputs():
    inputs, x = features()
    return keras.Model(inputs, [x, layers.Flatten()(x)])


@pytest.mark.parametrize(
    ("build", "options", "expected"),
    [
        (dense_head, {}, "Pass either `num_classes`"),
        (dense_head, {"num_classes": 3, "classes": [1]}, "Pass either `num_classes`"),
        (dense_head, {"num_classes": 0}, "`num_classes` must be at least 1"),
        (dense_head, {"classes": [7]}, "different classes of the old classifier, 0 to 6"),
        (dense_head, {"classes": [1, 1]}, "different classes"),
        (dense_head, {"classes": []}, "different classes"),
        (dense_head, {"num_classes": 3, "pooling": "sum"}, "`pooling` must be 'avg' or 'max'"),
        (dense_head, {"num_classes": 3, "features": "nothing"}, "there is no 'nothing'"),
        (lambda: keras.Model(*features()), {"classes": [0]}, "no classifier of which `classes` could be kept"),
        (two_outputs, {"num_classes": 3}, "2 outputs"),
        (lambda: keras.Sequential([layers.Dense(2)]), {"num_classes": 3}, "Only a built Functional or Sequential"),
    ],
)
def test_bad_arguments_are_explained(build, options, expected):
    with pytest.raises(ValueError, match=expected):
        transfer(build(), **options)
