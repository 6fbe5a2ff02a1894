"""Which layers there are is part of the structure: files, best weights and backups bring it back."""

import contextlib
import json

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.callbacks import StructureBackup
from keras_struct.core.model.parts import parts_of
from keras_struct.depth.topology import read_topology
from keras_struct.schedules import AtSteps
from keras_struct.strategies import MiddleGrow
from tests.depth.networks import chain, data_for, image, nested, output, residual, trained

layers = keras.layers
pytestmark = pytest.mark.usefixtures("eager_module")


def unnamed():
    x = inputs = keras.Input((6,))
    for _ in range(3):
        x = layers.Dense(8, activation="relu")(x)
    return StructuralModel(inputs, layers.Dense(3)(x))


def wider_and_deeper(model):
    """Edits of several kinds, whatever the network."""
    axis = next(iter(model.structure.axes), None)
    if axis is not None:
        model.grow(axis, 3, preserve=False)
    if model.blocks:
        model.duplicate(list(model.blocks)[-1], times=2)
    else:
        model.insert_block(layers.Dense(11), after="backbone/one")
    model.insert(layers.Dropout(0.5), after=model.layers[-2].name)
    if len(model.blocks) > 3:
        model.remove(next(iter(model.blocks)))


NETWORKS = {"chain": chain, "unnamed": unnamed, "image": image, "residual": residual, "nested": nested}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_weights_of_a_file_bring_the_layers_along_that_they_belong_to(build, tmp_path):
    model, x, y = trained(build())
    wider_and_deeper(model)
    model.train_on_batch(x, y)
    model.save_weights(tmp_path / "m.weights.h5")
    other, _, _ = trained(build(), steps=1)
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(output(other, x), output(model, x))
    assert len(other.layers) == len(model.layers)
    other.train_on_batch(x, y)
    model.load_weights(tmp_path / "m.weights.h5")
    first, _, _ = trained(build(), steps=0)
    first.save_weights(tmp_path / "first.weights.h5")
    other.load_weights(tmp_path / "first.weights.h5")
    np.testing.assert_array_equal(output(other, x), output(first, x))
    assert len(other.structure.axes) == len(first.structure.axes)


def test_the_best_weights_are_restored_with_their_layers():
    class Deepen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.before = output(self.model, self.x), [layer.name for layer in self.model.layers]
                self.model.duplicate("a")
                self.model.remove("b")
            logs["loss"] = float(epoch)

    model = chain()
    x, y = data_for(model)
    model.compile("adam", "mse", run_eagerly=True)
    deepen = Deepen()
    deepen.x = x
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = float(epoch)

    model.fit(x, y, epochs=3, verbose=0, callbacks=[Worse(), stopping, deepen])
    assert len(model.structure_log) == 2
    assert [layer.name for layer in model.layers] == deepen.before[1]
    np.testing.assert_array_equal(output(model, x), deepen.before[0])
    model.train_on_batch(x, y)


def test_an_interrupted_training_is_resumed_with_the_layers_that_it_had(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(*callbacks):
        keras.utils.set_random_seed(3)
        model = chain()
        x, y = data_for(model, 24)
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        model.compile(optimizer, "mse", strategy=MiddleGrow(AtSteps((3, 7))), run_eagerly=True)
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(x, y, batch_size=8, epochs=4, verbose=0, shuffle=False, callbacks=list(callbacks))
        return model, x

    whole, x = run()
    run(StructureBackup(tmp_path / "backup"), Interrupt())
    resumed, _ = run(StructureBackup(tmp_path / "backup"))
    assert [layer.name for layer in resumed.layers[1:]] == [layer.name for layer in whole.layers[1:]]
    np.testing.assert_array_equal(output(resumed, x), output(whole, x))


def test_a_file_of_the_same_layers_changes_none(tmp_path):
    for build in NETWORKS.values():
        build().save_weights(tmp_path / "m.weights.h5")
        model = build()
        before = [len(layer._inbound_nodes) for layer in model.layers]
        version = parts_of(model).editor.reconnections
        model.load_weights(tmp_path / "m.weights.h5")
        assert parts_of(model).editor.reconnections == version
        assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_a_topology_is_json_and_tells_networks_apart():
    model = chain()
    topology = read_topology(model)
    assert topology == read_topology(model)
    assert json.loads(json.dumps(topology))[""]["calls"] == json.loads(json.dumps(topology[""]["calls"]))
    model.duplicate("a")
    assert read_topology(model)[""]["calls"] != topology[""]["calls"]


def test_a_layer_that_is_not_known_here_leaves_the_model_as_it_was(tmp_path):
    @keras.saving.register_keras_serializable("here")
    class Known(layers.Layer):
        def call(self, x):
            return x

    model, _, _ = trained(chain())
    model.insert(Known(name="known"), after="a", init="fresh")
    model.save_weights(tmp_path / "m.weights.h5")
    del keras.saving.get_custom_objects()["here>Known"]
    other, x, _ = trained(chain())
    before = output(other, x)
    with pytest.raises(ValueError, match="Layer 'known' cannot be made from its configuration"):
        other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(output(other, x), before)
