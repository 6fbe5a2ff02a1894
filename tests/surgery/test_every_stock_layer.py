"""Each layer of Keras is supported, or its units are fixed for a reason of its own with a remedy."""

import inspect

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.surgery import registry
from keras_struct.testing.preservation import outputs, relative_change

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

layers = keras.layers
IMAGES = np.random.default_rng(0).standard_normal((3, 6, 6, 2)).astype("float32")
NOT_CALLED = {"Layer", "Wrapper", "InputLayer"}  # bases, and the input itself


def test_no_layer_of_keras_is_without_a_rule_or_a_reason():
    kinds = {n: k for n, k in vars(layers).items() if inspect.isclass(k) and issubclass(k, layers.Layer)}
    known = {*registry._HANDLERS, *registry._COMPOSITES}
    assert {name for name, kind in kinds.items() if kind not in known} == NOT_CALLED


def between(*middle):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 2))
    y = layers.Conv2D(4, 3, padding="same", activation="sigmoid", name="maps")(x)
    for layer in middle:
        y = layer(y)
    return StructuralModel(x, layers.Dense(2)(layers.Flatten()(y)))


PASSING = {
    "Resizing": lambda: layers.Resizing(5, 5),
    "CenterCrop": lambda: layers.CenterCrop(4, 4),
    "RandomFlip": lambda: layers.RandomFlip(seed=0),
    "RandomRotation": lambda: layers.RandomRotation(0.1, seed=0),
    "RandomZoom": lambda: layers.RandomZoom(0.1, seed=0),
    "RandomTranslation": lambda: layers.RandomTranslation(0.1, 0.1, seed=0),
    "RandomErasing": lambda: layers.RandomErasing(seed=0),
    "Rescaling": lambda: layers.Rescaling(0.5, 1.0),
}


@pytest.mark.parametrize("name", PASSING)
def test_layers_that_move_channels_together_pass_units(name):
    model = between(PASSING[name]())
    model.compile("sgd", "mse")
    y = IMAGES[:, 0, 0]
    model.train_on_batch(IMAGES, y)
    for edit in (lambda: model.grow("maps", 2), lambda: model.split("maps", [0])):
        before = outputs(model, IMAGES)
        edit()
        assert relative_change(before, outputs(model, IMAGES)) < 1e-6
    model.prune("maps", [1])
    model.train_on_batch(IMAGES, y)


@pytest.mark.parametrize(
    ("options", "groups"), [({}, -1), ({"scale": False}, 4), ({"center": False, "scale": False}, -1)]
)
def test_instance_normalisation_keeps_a_group_for_each_unit(options, groups):
    model = between(layers.GroupNormalization(groups, name="norm", **options))
    for edit in (lambda: model.grow("maps", 2), lambda: model.split("maps", [0])):
        before = outputs(model, IMAGES)
        edit()
        assert relative_change(before, outputs(model, IMAGES)) < 1e-6
    model.prune("maps", [1, 2])
    assert model.get_layer("norm").groups == 5
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    assert relative_change(outputs(model, IMAGES), outputs(copy, IMAGES)) < 1e-6


REFUSED = {
    "takes channels for the colours": lambda: layers.RandomGrayscale(),
    "runs Python code": lambda: layers.Lambda(lambda z: z + 1),
    "takes numbers or words": lambda: layers.Discretization([0.0, 1.0]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_layers_in_which_units_have_no_meaning_say_so_and_what_to_do(reason):
    y = REFUSED[reason]()
    with pytest.raises(ValueError, match=rf"{reason}.*(put it in front|unit_rules\(\))"):
        between(y).grow("maps")


def test_vectors_that_are_masked_by_their_values_cannot_keep_the_function():
    x = keras.Input((5, 3))
    y = layers.LSTM(4)(layers.Masking()(layers.Dense(6, name="h")(x)))
    model = StructuralModel(x, layers.Dense(2)(y))
    with pytest.raises(ValueError, match="compares all of its units with mask_value"):
        model.grow("h")


def test_a_model_inside_time_distributed_is_named_with_the_way_around_it():
    frame = keras.Input((6, 6, 2))
    inner = keras.Model(frame, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="c")(frame)), name="backbone")
    x = keras.Input((3, 6, 6, 2))
    model = StructuralModel(x, layers.Dense(2)(layers.LSTM(3)(layers.TimeDistributed(inner, name="each")(x))))
    with pytest.raises(ValueError, match=r"'each/backbone/c', where .*TimeDistributed around each of its layers"):
        model.grow("c")
    y = layers.TimeDistributed(layers.Conv2D(4, 3, name="c"), name="around")(x)
    y = layers.TimeDistributed(layers.GlobalAveragePooling2D())(y)
    model = StructuralModel(x, layers.Dense(2)(layers.LSTM(3)(y)))
    assert model.grow("around", 2).after == 6


def test_what_cannot_be_edited_says_what_to_do():
    model = StructuralModel([keras.Input((3,), name="x"), layers.Dense(4, name="h"), layers.Dense(2, name="out")])
    for axis, words in {"x": r"another keras\.Input", "out": r"keras_struct\.transfer\(model, num_classes"}.items():
        with pytest.raises(ValueError, match=words):
            model.grow(axis)
    with pytest.raises(ValueError, match="call the layers behind it on what enters it"):
        model.prune("h", count=4)


def test_a_model_of_keras_2_is_named_as_such():
    class Sequential:
        name = "old"

    Sequential.__module__ = "tf_keras.src.engine.sequential"
    with pytest.raises(TypeError, match=r"'old' of tf_keras, which is Keras 2.*set_weights"):
        StructuralModel.from_model(Sequential())
