"""What leaves this library: stock layers, SavedModel, TFLite, ONNX."""

import importlib.util
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, search
from keras_struct.applications import darts_language_model, darts_network, darts_supernet
from keras_struct.export import to_plain
from keras_struct.layers import ArchitectureWeights, GrowableConv1D, GrowableConv2D, GrowableDense, MixedOp
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
    found.compile("adam", "mse", run_eagerly=True)
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
    model.compile("sgd", "mse")
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
    plain.compile("sgd", "mse", run_eagerly=True)
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


# Searched layers


def moved(model, shape, seed=0):
    """A model after some steps, so that no statistics or scales are those of the start."""
    rng = np.random.default_rng(seed)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(rng.normal(size=(8, *shape)), np.arange(8) % 3)
    return rng.normal(size=(4, *shape)).astype("float32")


def stock(model):
    """Whether all layers are Keras's own, at any depth."""
    return all(
        stock(layer) if isinstance(layer, keras.Model) else type(layer).__module__.startswith("keras.")
        for layer in model.layers
    )


@pytest.mark.parametrize(
    "genotype",
    [
        pytest.param(search.DARTS_V1, id="darts"),
        pytest.param(search.NASNET, id="nasnet", marks=pytest.mark.slow),
        pytest.param(search.AMOEBANET, id="amoeba", marks=pytest.mark.slow),
    ],
)
def test_networks_of_a_genotype_become_stock_layers(genotype, tmp_path):
    keras.utils.set_random_seed(1)
    model = darts_network(genotype, (8, 8, 2), 3, init_channels=4, layers=3)
    x = moved(model, (8, 8, 2))
    expected, plain = outputs(model, x)[0], model.to_plain()
    assert stock(plain)
    np.testing.assert_allclose(outputs(plain, x)[0], expected, atol=1e-5)
    plain.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras")
    np.testing.assert_allclose(outputs(loaded, x)[0], expected, atol=1e-5)
    count = [sum(int(np.prod(w.shape)) for w in m.trainable_weights) for m in (model, plain)]
    assert count[0] == count[1]


def test_cells_may_output_one_or_two_of_their_states():
    keras.utils.set_random_seed(1)
    genotype = replace(search.DARTS_V1, normal_concat=(3, 5), reduce_concat=(4,))
    model = darts_network(genotype, (8, 8, 2), 3, init_channels=4, layers=3)
    x = moved(model, (8, 8, 2))
    np.testing.assert_allclose(outputs(model.to_plain(), x)[0], outputs(model, x)[0], atol=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "crb"])
def test_supernets_become_stock_layers_after_a_choice(activation):
    keras.utils.set_random_seed(2)
    model = darts_supernet((8, 8, 1), 3, init_channels=2, layers=2, nodes=1, activation=activation, reductions=[1])
    with pytest.raises(ValueError, match=r"still mixes operations.*model.choose\(\)"):
        model.to_plain()
    model.choose()
    x = moved(model, (8, 8, 1))
    expected, plain = outputs(model, x)[0], model.to_plain()
    assert stock(plain)
    np.testing.assert_allclose(outputs(plain, x)[0], expected, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_mixtures_become_the_layer_that_was_chosen(shared):
    keras.utils.set_random_seed(3)
    inputs = x = keras.Input((6, 6, 2))
    options = {n: keras.layers.Conv2D(2, s, padding="same", activation="relu") for n, s in {"a": 1, "b": 3}.items()}
    weights = [ArchitectureWeights(1, ["a", "b"], inputs=1, kept=1)(x)] if shared else []
    x = MixedOp(options, shared=shared)([x, *weights] if shared else x)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x))
    model = StructuralModel(inputs, outputs)
    model.choose()
    images = moved(model, (6, 6, 2))
    plain = model.to_plain()
    assert stock(plain)
    np.testing.assert_allclose(plain(images), model(images), atol=1e-6)
    assert plain.count_params() < model.count_params()


def test_what_no_stock_layer_does_is_refused():
    model = darts_language_model(search.DARTS_RNN_V2, 5, 4)
    with pytest.raises(ValueError, match="no stock layer for 'words_embedding', a WordEmbedding"):
        model.to_plain()
    inputs = keras.Input(batch_shape=model.get_layer("rnn").input.shape)
    recurrent = model.get_layer("rnn").from_config(model.get_layer("rnn").get_config())
    with pytest.raises(ValueError, match="no stock layer for 'rnn', a DartsRNN"):
        to_plain(keras.Model(inputs, recurrent(inputs)))
