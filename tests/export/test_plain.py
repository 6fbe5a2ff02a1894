"""What leaves this library: stock layers, SavedModel, TFLite, ONNX."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.layers import GrowableConv1D, GrowableConv2D, GrowableDense
from keras_struct.testing.preservation import outputs, relative_change

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((8, 8, 8, 2)).astype("float32")
Y = RNG.standard_normal((8, 2)).astype("float32")
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exported from TensorFlow only")


@pytest.fixture(scope="module")
def model():
    """A residual network that was trained, grown, split, pruned and trained again."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2), name="images")
    x = keras.layers.BatchNormalization()(GrowableConv2D(3, 3, padding="same", name="stem")(inputs))
    x = keras.layers.Add()([x, GrowableConv2D(3, 3, padding="same", activation="relu", name="branch")(x)])
    x = GrowableDense(4, activation="relu", name="fc")(keras.layers.GlobalAveragePooling2D()(x))
    found = StructuralModel(inputs, keras.layers.Dense(2)(x))
    found.compile("adam", "mse")
    found.fit(IMAGES, Y, verbose=0)
    found.grow("stem", 2)
    found.split("fc", [0, 1])
    found.prune("fc", [2])
    found.fit(IMAGES, Y, verbose=0)
    return found


def served(model, path, x):
    """What the SavedModel of a model computes."""
    import tensorflow as tf

    model.export(path, verbose=False)
    loaded = tf.saved_model.load(str(path))
    return [np.asarray(loaded.serve(x), "float64")]


@on_tensorflow
@pytest.mark.parametrize("form", [lambda model: model, lambda model: model.to_plain()])
def test_a_saved_model_computes_the_same(model, tmp_path, form):
    assert relative_change(outputs(model, IMAGES), served(form(model), tmp_path / "saved", IMAGES)) < 1e-5


@on_tensorflow
def test_training_and_editing_go_on_after_an_export(tmp_path):
    keras.utils.set_random_seed(0)
    model = StructuralModel([keras.Input((5,)), GrowableDense(4, name="h"), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    x = RNG.standard_normal((8, 5)).astype("float32")
    served(model, tmp_path / "first", x)
    model.fit(x, Y, verbose=0)
    assert not model.grow("h", 1).retraced
    model.fit(x, Y, verbose=0)
    assert relative_change(outputs(model, x), served(model, tmp_path / "second", x)) < 1e-5


@on_tensorflow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tflite_computes_the_same(model, tmp_path):
    import tensorflow as tf

    model.to_plain().export(tmp_path / "saved", verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    lite = tf.lite.Interpreter(model_content=content)
    (inputs,), (result,) = lite.get_input_details(), lite.get_output_details()
    lite.resize_tensor_input(inputs["index"], IMAGES.shape)
    lite.allocate_tensors()
    lite.set_tensor(inputs["index"], IMAGES)
    lite.invoke()
    assert relative_change(outputs(model, IMAGES), [lite.get_tensor(result["index"]).astype("float64")]) < 1e-5


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "tf2onnx")),
    reason="ONNX is not installed",
)
def test_onnx_computes_the_same(model, tmp_path):
    import onnxruntime

    plain = model.to_plain()
    plain(IMAGES)
    plain.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: IMAGES})
    assert relative_change(outputs(model, IMAGES), [found.astype("float64")]) < 1e-5


def test_a_plain_copy_shares_nothing_and_holds_stock_variables(model):
    plain = model.to_plain()
    assert {type(layer).__module__.split(".")[0] for layer in plain.layers} == {"keras"}
    assert {type(variable) for variable in plain.weights} == {keras.Variable}, "no elastic ones"
    before = outputs(model, IMAGES)
    plain.compile("sgd", "mse")
    plain.fit(IMAGES, Y, verbose=0)
    assert relative_change(before, outputs(model, IMAGES)) == 0
    assert relative_change(before, outputs(plain, IMAGES)) > 0


def test_clones_configurations_and_summaries_have_the_new_structure(model, capsys):
    for copy in (keras.models.clone_model(model), type(model).from_config(model.get_config()), model.to_plain()):
        copy.set_weights([np.array(weight) for weight in model.get_weights()])
        assert relative_change(outputs(model, IMAGES), outputs(copy, IMAGES)) == 0
        assert copy.count_params() == model.count_params()
    model.summary()
    printed = capsys.readouterr().out
    assert "(None, 8, 8, 5)" in printed
    assert "(None, 5)" in printed


@pytest.mark.parametrize("kind", ["sequence", "nested", "named"])
def test_any_form_of_model_has_a_plain_copy(kind):
    keras.utils.set_random_seed(0)
    x = RNG.standard_normal((4, 6, 3)).astype("float32")
    if kind == "sequence":
        layers = [keras.Input((6, 3)), GrowableConv1D(4, 3, name="h", max_filters=9), keras.layers.Flatten()]
        model = StructuralModel([*layers, keras.layers.Dense(2)])
    elif kind == "nested":
        inner = keras.Sequential([keras.Input((6, 3)), GrowableDense(4, name="h")], name="inner")
        inputs = keras.Input((6, 3))
        model = StructuralModel(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inner(inputs))))
    else:
        inputs = keras.Input((6, 3), name="series")
        hidden = GrowableDense(4, name="h")(inputs)
        model = StructuralModel(
            {"series": inputs}, {"a": keras.layers.Dense(1)(hidden), "b": keras.layers.Dense(2)(hidden)}
        )
        x = {"series": x}
    axis = next(iter(model.structure.axes))
    model.grow(axis, 2)
    plain = model.to_plain()
    assert relative_change(outputs(model, x), outputs(plain, x)) == 0
    assert not any(type(layer).__module__.startswith("keras_struct") for layer in plain._flatten_layers())
