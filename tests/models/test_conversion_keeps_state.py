"""What layers hold beside their configuration comes along in every conversion."""

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel, sparsify, to_equivariant, transfer
from keras_struct.layers import GrowableDense
from keras_struct.testing.preservation import outputs, relative_change

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(16, 5)) * [1, 10, 100, 3, 5] + [0, 50, -300, 2, 9]).astype("float32")
L = keras.layers
FORMS = {
    "from_model": StructuralModel.from_model,
    "to_plain": lambda model: StructuralModel.from_model(model).to_plain(),
    "sparsify": sparsify,
    "transfer": lambda model: transfer(model, classes=[0], activation=None),
}
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tables of TensorFlow")


def network(*layers, shape=(5,), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers, L.Dense(4, name="h"), L.Dense(1, name="o")])


def adapted(layer, data=X):
    layer.adapt(data)
    return layer


def with_rate_and_tag():
    layer = L.LeakyReLU(0.1, name="leaky")
    layer.negative_slope, layer.tag, layer.trainable = 0.7, "mine", False
    return layer


def replaced_activation():
    layer = L.Dense(5, activation="relu", name="r", kernel_regularizer=lambda w: 0.1 * keras.ops.sum(w))
    layer.build((None, 5))
    layer.activation = lambda x: x * 3.0
    return layer


SHIFT = 2.5
LAYERS = {
    "adapted normalization": lambda: adapted(L.Normalization()),
    "given mean": lambda: L.Normalization(mean=2.0, variance=9.0),
    "discretization": lambda: adapted(L.Discretization(num_bins=3), X),
    "lambda with a global": lambda: L.Lambda(lambda x: x * SHIFT),
    "attributes": with_rate_and_tag,
    "activation": replaced_activation,
    "wrapped": lambda: keras.Sequential(
        [L.Reshape((5, 1)), L.TimeDistributed(L.Dense(2, activation=lambda x: x * 0.1)), L.Bidirectional(L.LSTM(2))],
        name="inner",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", LAYERS)
def test_converted_models_compute_the_same_and_share_no_trainable_weight(kind, form):
    model = network(LAYERS[kind]())
    before = outputs(model, X)
    new = FORMS[form](model)
    assert relative_change(before, outputs(new, X)) < 1e-6
    assert not set(map(id, model.trainable_variables)) & set(map(id, new.trainable_variables))
    for weight in new.trainable_variables:
        weight.assign(weight + 1.0)
    assert relative_change(before, outputs(model, X)) == 0


@on_tensorflow
@pytest.mark.parametrize("form", ["from_model", "to_plain", "sparsify"])
def test_vocabularies_come_along(form):
    import tensorflow as tf

    lookup = L.StringLookup(output_mode="tf_idf")
    lookup.adapt(np.array([["red", "green"], ["red", "blue"]]))
    model = network(lookup, shape=(2,), dtype="string")
    words = tf.constant([["red", "blue"], ["green", "green"]])
    assert relative_change([np.asarray(model(words))], [np.asarray(FORMS[form](model)(words))]) < 1e-6


def test_frozen_weights_attributes_and_random_states_come_along():
    inner = keras.Sequential([L.Dense(3, name="a"), L.Dropout(0.5, seed=3, name="drop")], name="inner")
    model = network(inner, with_rate_and_tag())
    inner.layers[0].trainable = False
    model(X, training=True)
    new = StructuralModel.from_model(model)
    assert new.get_layer("leaky").tag == "mine"
    assert not new.get_layer("inner").layers[0].trainable
    assert new.get_layer("inner").trainable
    assert len(new.trainable_variables) == len(model.trainable_variables)
    np.testing.assert_array_equal(np.asarray(new(X, training=True)), np.asarray(model(X, training=True)))


@pytest.mark.filterwarnings("ignore:With the symmetry")
def test_adapted_means_come_along_into_an_equivariant_network():
    images = RNG.normal(size=(4, 9, 9, 1)).astype("float32") * 3 + 5
    layers = [adapted(L.Normalization(name="norm"), images), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(2)]
    found = to_equivariant(keras.Sequential([keras.Input((9, 9, 1)), *layers]), "C4")
    assert abs(np.mean(found.get_layer("norm")(images))) < 1e-5


def test_low_rank_weights_are_kept():
    model = network()
    model.get_layer("h").enable_lora(2)
    model.get_layer("h").lora_kernel_b.assign(RNG.normal(size=(2, 4)))
    for new in (StructuralModel.from_model(model), sparsify(model)):
        assert relative_change(outputs(model, X), outputs(new, X)) < 1e-6
        assert new.get_layer("h").lora_enabled


class Stubborn(keras.layers.Layer):
    def __init__(self, units, hidden):
        super().__init__()
        self.kernel = self.add_weight(shape=(5, units))

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)

    def get_config(self):
        return {}


def test_a_layer_that_cannot_be_copied_is_named_with_the_remedy():
    with pytest.raises(
        ValueError, match=r"(?s)'stubborn' \(Stubborn\) cannot be copied.*StructuralModel\(model.inputs"
    ):
        StructuralModel.from_model(network(Stubborn(3, None)))


def test_layers_that_share_a_weight_are_not_silently_parted():
    shared = L.Dense(5, name="shared")
    x = keras.Input((3, 5))
    model = keras.Model(x, L.TimeDistributed(shared, name="each")(shared(x)))
    with pytest.raises(ValueError, match="'shared' and 'each' share the weight"):
        StructuralModel.from_model(model)


class Towards(keras.Model):
    def train_step(self, data):
        return {"steps": 1.0}


class Both(Towards, StructuralModel):
    pass


@pytest.mark.parametrize(
    "convert", [StructuralModel.from_model, sparsify, lambda model: transfer(model, num_classes=2)]
)
def test_train_steps_of_ones_own_are_refused_or_kept(convert):
    x = keras.Input((5,))
    model = Towards(x, L.Dense(1)(L.Dense(4, name="h")(x)))
    with pytest.raises(ValueError, match=r"its own train_step.*class Both\(Towards, StructuralModel\)"):
        convert(model)
    kept = Both.from_model(model)
    kept.compile("sgd")
    assert "steps" in kept.fit(X, verbose=0).history
    assert type(sparsify(kept)) is Both


@keras.saving.register_keras_serializable("tests")
class Net(StructuralModel):
    def __init__(self, units=8, **kwargs):
        x = keras.Input((5,))
        super().__init__(x, L.Dense(1)(GrowableDense(units, name="h")(x)), **kwargs)
        self.first = units

    def get_config(self):
        return {"units": self.first}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("edit", [lambda m: m.grow("h", 3), lambda m: m.prune("h", units=[0, 4])])
def test_subclasses_with_constructors_of_their_own_load_after_edits(nested, edit, tmp_path):
    net = Net()
    x = keras.Input((5,))
    model = keras.Model(x, L.Dense(2)(net(x))) if nested else net
    if not nested:
        model.compile("adam", "mse", run_eagerly=True)
        model.fit(X, X[:, :1], verbose=0)
    edit(net)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert relative_change(outputs(model, X), outputs(loaded, X)) == 0
    with pytest.raises(ValueError, match="constructor of its own"):
        Net.from_model(keras.Model(net.inputs, net.outputs))


def test_damaged_and_missing_files_are_called_so(tmp_path):
    net = Net()
    net.save(tmp_path / "m.keras")
    content = (tmp_path / "m.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half.keras' is damaged"):
        net.load_weights(tmp_path / "half.keras")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        net.load_weights(tmp_path / "other.keras")


class Doubled(keras.Model):
    """A network that computes more than its graph of layers says."""

    def call(self, x, training=None, mask=None):
        return 2 * super().call(x, training=training, mask=mask)


def test_a_model_inside_with_a_call_of_its_own_is_not_taken_for_its_layers():
    inner_inputs, inputs = keras.Input((4,)), keras.Input((4,))
    inner = Doubled(inner_inputs, keras.layers.Dense(5, name="d")(inner_inputs), name="inner")
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(inner(inputs)))
    structural = StructuralModel(model.inputs, model.outputs)
    assert not structural.structure.axes, "nobody knows what becomes of the units of 'd'"
    assert "'Doubled'" in structural.structure.locked["inner"]
    for convert in (StructuralModel.from_model, sparsify, StructuralModel.to_plain):
        with pytest.raises(ValueError, match="'inner' in it, a Doubled, has a `call` of its own"):
            convert(structural if convert is StructuralModel.to_plain else model)
