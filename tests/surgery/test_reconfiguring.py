"""Symmetries that are relaxed and constrained while a network trains."""

import json

import keras
import numpy as np
import pytest

from keras_struct import Reconfigure, Resize, StructuralModel
from keras_struct.applications import EquivariantCNN
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import GroupBatchNormalization, GroupConv2D, GroupPooling2D
from keras_struct.symmetry import Group, equivariance_error
from keras_struct.symmetry.groups import NAMES
from keras_struct.testing import check_edit
from keras_struct.testing.preservation import outputs

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 8, 8, 2)).astype("float32")
Y = X.mean((1, 2))
TWO = ("D4", "D4")
RELAXED = [Group(name) for name in NAMES if name != "C1"]


def build(groups=("D4", "D4", "D4"), seed=0, frame="D4"):
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input((8, 8, 2))
    before = None
    for i, group in enumerate(groups):
        x = GroupConv2D(3, 3, group, before, frame, padding="same", name=f"c{i}")(x)
        x = GroupBatchNormalization(group, frame, momentum=0.8, name=f"n{i}")(x)
        x = keras.layers.ReLU(name=f"r{i}")(x)
        before = group
    x = keras.layers.GlobalAveragePooling2D(name="mean")(keras.layers.AveragePooling2D(2, name="halved")(x))
    return StructuralModel(inputs, keras.layers.Dense(2, name="out")(GroupPooling2D(before, frame, name="pool")(x)))


def trained(groups=("D4", "D4", "D4"), steps=1, **options):
    model = build(groups, **options)
    model.compile("adam", "mse")
    train(model, steps)
    return model


def train(model, steps=1):
    for _ in range(steps):
        model.train_on_batch(X, Y)


@pytest.fixture(scope="module")
def made_once(eager_module):
    model = trained()
    return model, model.get_weights(), [read(v) for v in model.optimizer.variables]


@pytest.fixture
def network(made_once):
    """A trained network of D4 as it was at first, whatever other tests relaxed."""
    model, weights, slots = made_once
    model.set_weights(weights)
    for variable, value in zip(model.optimizer.variables, slots, strict=True):
        variable.assign(value)
    assert {group.name for group in model.symmetries.values()} == {"D4"}
    return model


def output(model):
    return outputs(model, X)[0]


def read(variable):
    return current().read(variable)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("group", RELAXED, ids=str)
def test_relaxing_keeps_the_expanded_kernel_and_the_function(group):
    model = build([group.name] * 2)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "kernel" not in weight.name:  # offsets, scales and statistics as after some training
            weight.assign(read(weight) + rng.uniform(0, 0.5, weight.shape))
    weights, before = model.get_weights(), output(model)
    for new in group.subgroups()[:-1]:
        model.set_weights(weights)
        assert set(model.symmetries.values()) == {group}
        for place in (0, 1):
            layer = model.get_layer(f"c{place}")
            held = read_expanded(layer)
            events = model.relax(f"c{place}", new)
            assert all(np.array_equal(a, b) for a, b in zip(read_expanded(layer), held, strict=True))
            assert relative(output(model), before) < 1e-6
            assert [event.axis for event in events] == [f"c{place}", f"n{place}"]
            assert events[0].after == sum(int(np.prod(v.shape)) for v in layer.trainable_variables)
            assert events[0].after > events[0].before
            assert model.symmetries[f"c{place}"] == new


def read_expanded(layer):
    return [keras.ops.convert_to_numpy(part) for part in (layer.expanded_kernel(), layer.expanded_bias())]


def test_a_relaxed_layer_is_free_to_leave_the_old_group_and_keeps_the_new_one(network):
    model = network
    model.relax("c1", "C4")
    layer = model.get_layer("c1")
    layer.kernel.assign(read(layer.kernel) + 0.1 * RNG.standard_normal(layer.kernel.shape))
    error = equivariance_error(model, X, "D4")
    assert max(error[a] for a in Group("C4").elements) < 1e-5
    assert min(error[a] for a in (4, 5, 6, 7)) > 1e-3


def test_a_network_stays_invariant_while_it_trains():
    model = trained(["D4", "C4", "C2"], steps=3)
    error = equivariance_error(model, X, "D4")
    assert error[2] < 1e-5
    assert min(error[a] for a in range(1, 8) if a != 2) > 1e-3


def test_any_order_of_relaxations_keeps_the_function(network):
    model = network
    before = output(model)
    count = model.count_params()
    for layer, group in [("c2", "D2"), ("c0", "C4"), ("c1", "C4"), ("c2", "C1"), ("c1", "C2"), ("c0", "C1")]:
        model.relax(layer, group)
        assert model.count_params() > count
        count = model.count_params()
    after = output(model)
    assert relative(after, before) < 1e-5
    assert (after.argmax(-1) == before.argmax(-1)).all()


def test_two_layers_that_rearrange_their_channels_are_edited_one_after_the_other():
    inputs = keras.Input((8, 8, 2))
    paths = []
    for i in range(2):
        x = GroupPooling2D("D4", name=f"pool{i}")(GroupConv2D(2, 3, "D4", padding="same", name=f"c{i}")(inputs))
        paths.append(keras.layers.Flatten()(x))
    model = StructuralModel(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(paths)))
    before, pools = output(model), [Reconfigure(f"pool{i}", {"group": "C4"}) for i in range(2)]
    with pytest.raises(ValueError, match="'pool0' would rearrange its channels, and others"):
        model.apply([Reconfigure(f"c{i}", {"group": "C4"}) for i in range(2)] + pools)
    assert np.array_equal(output(model), before)
    for i in range(2):
        model.relax(f"c{i}", "C4", pooling=True)
    assert relative(output(model), before) < 1e-5


@pytest.mark.parametrize("new", ["C4", "D2", "C2", "C1"])
def test_a_last_layer_is_relaxed_with_its_pooling_and_the_layers_behind_get_more_weights(new):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.ReLU()(GroupConv2D(3, 3, "D4", padding="same", name="c0")(inputs))
    x = keras.layers.BatchNormalization()(GroupPooling2D("D4", name="pool")(x))
    x = keras.layers.Dense(6, activation="relu", name="d0")(keras.layers.Flatten()(x))
    model = StructuralModel(inputs, keras.layers.Dense(2)(x))
    model.compile("adam", "mse")
    train(model)
    before, dense, weights = output(model), model.get_layer("d0").kernel.shape, model.count_params()
    events = model.relax("c0", new, pooling=True)
    index = 8 // Group(new).order
    assert model.get_layer("pool").group == Group(new)
    assert model.get_layer("pool").output.shape[-1] == 3 * index
    assert model.get_layer("d0").kernel.shape == (dense[0] * index, 6)
    assert relative(output(model), before) < 1e-5
    assert sum(event.parameters is not None for event in events) == 2
    assert events[-1].parameters == model.count_params() > weights
    assert events[-1].retraced
    slot = next(v for v in model.optimizer.variables if "d0_kernel_velocity" in v.path)
    assert slot.shape == model.get_layer("d0").kernel.shape
    train(model)
    assert relative(output(model), before) > 1e-4
    model.prune("d0", units=[1])
    assert model.get_layer("d0").kernel.shape == (dense[0] * index, 5)


def test_a_pooled_network_is_saved_with_its_pooling_and_goes_on_pruning_fields(tmp_path):
    model = trained(TWO)
    model.relax("c1", "C2", pooling=True)
    train(model)
    assert max(equivariance_error(model, X, "C2").values()) < 1e-5
    assert max(equivariance_error(model, X, "C4").values()) > 1e-4
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(output(loaded), output(model))
    loaded.prune("c1", units=[1])
    pool = next(layer for layer in loaded.layers if isinstance(layer, GroupPooling2D))
    assert pool.output.shape[-1] == 2 * 4
    before = output(loaded)
    loaded.relax(pool.name, "C1")
    assert relative(output(loaded), before) < 1e-5
    train(loaded)
    plain = loaded.to_plain()
    np.testing.assert_allclose(output(plain), output(loaded), rtol=1e-4, atol=1e-5)


def test_a_run_that_was_killed_goes_on_with_its_pooling(tmp_path):
    class Killed(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.relax("c1", "C4", pooling=True)
            if epoch == 1:
                raise KeyboardInterrupt

    first, second = trained(TWO, steps=0), trained(TWO, steps=0)
    options = {"batch_size": 16, "epochs": 3, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        first.fit(X, Y, callbacks=[keras.callbacks.BackupAndRestore(tmp_path), Killed()], **options)
    second.fit(X, Y, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)], **options)
    assert {name: str(group) for name, group in second.symmetries.items()}["c1"] == "C4"
    assert [layer.group.name for layer in second.layers if isinstance(layer, GroupPooling2D)] == ["C4"]


def test_pooling_catches_up_with_layers_that_were_relaxed_before():
    model = trained(TWO)
    model.relax("c1", "C4")
    before = output(model)
    model.relax("c1", "C2", pooling=True)
    assert model.get_layer("pool").group == Group("C2")
    assert relative(output(model), before) < 1e-5
    with pytest.raises(ValueError, match="enter no GroupPooling2D over more than C4"):
        model.relax("c0", "C4", pooling=True)


def test_weights_of_other_symmetries_bring_them_along(network):
    model = network
    weights, before = model.get_weights(), output(model)
    model.relax("c1", "D2")
    model.relax("c0", "C1")
    train(model)
    relaxed, after = model.get_weights(), output(model)
    model.set_weights(weights)
    assert {group.name for group in model.symmetries.values()} == {"D4"}
    np.testing.assert_array_equal(output(model), before)
    model.set_weights(relaxed)
    assert model.symmetries["c1"].name == "D2"
    np.testing.assert_array_equal(output(model), after)


def test_early_stopping_restores_the_symmetries_of_the_best_weights(network):
    class Relaxing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.relax("c1", "C4")

    model = network
    stop = keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)
    model.fit(X, Y, batch_size=16, epochs=4, verbose=0, callbacks=[stop, Relaxing()])
    assert model.structure_log[-1].edit == "Reconfigure"
    assert model.symmetries["c1"].name == "D4"


def test_pooling_that_cannot_follow_is_refused_before_anything_changes():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    maps = GroupConv2D(3, 3, "D4", name="c0")(inputs)
    tops = {
        "takes the maximum over D4": GroupPooling2D("D4", mode="max")(maps),
        "is an output of the model|are an output": GroupPooling2D("D4")(maps),
        "they meet those of other layers|meets|tied": keras.layers.Add()(
            [GroupPooling2D("D4")(maps), keras.layers.Conv2D(3, 3)(inputs)]
        ),
    }
    for expected, top in tops.items():
        if "output" not in expected:
            top = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(top))
        model = StructuralModel(inputs, top)
        with pytest.raises(ValueError, match=expected):
            model.relax("c0", "C4", pooling=True)
        assert model.get_layer("c0").group == Group("D4")
        assert not model.structure_log


def test_relaxing_in_two_steps_is_relaxing_at_once(network):
    weights = network.get_weights()
    network.relax("c1", "C2")
    once = [read(v) for v in network.weights]
    network.set_weights(weights)
    network.relax("c1", "D2")
    network.relax("c1", "C2")
    for a, b in zip(once, network.weights, strict=True):
        np.testing.assert_array_equal(a, read(b))


def test_in_training_mode_the_output_moves_little(network):
    model = network
    before = np.asarray(keras.ops.convert_to_numpy(model(X, training=True)))
    model.relax("c1", "C2")
    assert relative(np.asarray(keras.ops.convert_to_numpy(model(X, training=True))), before) < 5e-2


@pytest.fixture(scope="module")
def fresh(eager_module):
    model = build(TWO)
    return model, model.get_weights()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "nadam", "adagrad", "lion"])
def test_moments_of_the_copies_add_up_to_that_of_the_shared_weight(optimizer, fresh):
    model, weights = fresh
    model.set_weights(weights)
    model.compile(optimizer, "mse")
    train(model)
    layer = model.get_layer("c1")
    slots = [s for s in parts_of(model).editor.optimizer.live_slots() if s.reference is layer.kernel]
    before = [read(s.variable) for s in slots]
    model.relax("c1", "C4")
    for slot, old in zip(slots, before, strict=True):
        new = read(slot.variable)
        assert new.shape == tuple(layer.kernel.shape)
        if slot.power == 1:
            np.testing.assert_allclose(new.sum(axis=0), old.sum(axis=0), rtol=1e-4, atol=1e-6)
        if slot.power == 2:
            np.testing.assert_allclose(2 * new.sum(axis=0), old.sum(axis=0), rtol=1e-4, atol=1e-9)


def test_slots_can_be_copied_instead(network):
    model = network
    slots = [s for s in parts_of(model).editor.optimizer.live_slots() if s.reference is model.get_layer("c1").kernel]
    before = [read(s.variable) for s in slots]
    model.relax("c1", "C4", slots="copied")
    for slot, old in zip(slots, before, strict=True):
        assert set(np.unique(read(slot.variable))) == set(np.unique(old))


def test_relaxing_to_no_symmetry_trains_as_a_plain_convolution_would():
    """After relaxing to C1 with plain gradient descent, a step is that of the exported network."""
    model = build(["D4"])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.relax("c0", "C1")
    plain = model.to_plain()
    for layer in plain.layers:
        layer.trainable = layer.name == "c0"
    plain.compile(keras.optimizers.SGD(0.1), "mse")
    for layer in model.layers:
        layer.trainable = layer.name == "c0"
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for either in (model, plain):
        train(either, 2)
    kernel, bias = read_expanded(model.get_layer("c0"))
    np.testing.assert_allclose(kernel, keras.ops.convert_to_numpy(plain.get_layer("c0").kernel), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, keras.ops.convert_to_numpy(plain.get_layer("c0").bias), rtol=1e-4, atol=1e-6)


def test_constraining_projects_and_undoes_relaxing(network):
    model = network
    before = [read(w) for w in model.weights]
    model.relax("c1", "C2")
    model.constrain("c1", "D4")
    for old, weight in zip(before, model.weights, strict=True):
        np.testing.assert_allclose(read(weight), old, rtol=1e-5, atol=1e-6, err_msg=weight.path)
    free = build(["C1"] * 2)
    free.constrain("c1", "D4")
    assert float(free.get_layer("c1").equivariance_distance("D4")) < 1e-6
    assert float(free.get_layer("c0").equivariance_distance("D4")) > 0.1


@pytest.mark.usefixtures("compiled")
def test_training_goes_on_without_a_new_trace_and_every_weight_moves():
    model = trained(TWO, steps=0)
    model.fit(X, Y, batch_size=16, verbose=0)
    step = model.train_function
    for layer, group in [("c1", "C4"), ("c0", "D2"), ("c1", "C1")]:
        model.relax(layer, group)
        before = [read(v) for v in model.trainable_variables]
        model.fit(X, Y, batch_size=16, verbose=0)
        assert all((read(v) != old).any() for v, old in zip(model.trainable_variables, before, strict=True))
    model.constrain("c1", "C2")
    model.fit(X, Y, batch_size=16, verbose=0)
    assert parts_of(model).editor.retraces == 0
    assert model.train_function is step
    assert {event.edit for event in model.structure_log} == {"Reconfigure"}
    assert "relaxed: group=C4" in model.structure_log.to_table()


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("groups", "edit", "preserves", "optimizer"),
    [
        (["D4", "C4", "C2"], lambda m: (m.split("c0", [1]), m.grow("c1", 2))[1], True, "momentum"),
        (["C4", "C2"], lambda m: m.prune("c1", units=[0]), False, "adam"),
    ],
    ids=["split and grow", "prune"],
)
def test_fields_grow_and_go_as_units(groups, edit, preserves, optimizer):
    if optimizer == "momentum":
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model = check_edit(lambda: build(groups), edit, X[:8], Y[:8], optimizer, preserves)
    error = equivariance_error(model, X, "D4")
    assert error[2] < 1e-5


def test_relaxed_networks_are_saved_and_loaded_and_train_on_alike(tmp_path):
    model = trained(TWO)
    model.relax("c0", "D1")
    model.relax("c1", "C4")
    model.grow("c0", 1)
    train(model)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    whole = keras.models.load_model(tmp_path / "m.keras")
    weights = trained(TWO, seed=3)
    weights.relax("c0", "C1")
    weights.load_weights(tmp_path / "m.weights.h5")
    for loaded in (whole, weights):
        assert loaded.symmetries == model.symmetries
        np.testing.assert_array_equal(output(loaded), output(model))
    for either in (model, whole, weights):
        train(either, 2)
    for loaded in (whole, weights):
        np.testing.assert_allclose(output(loaded), output(model), rtol=1e-5, atol=1e-6)


def test_edits_survive_json():
    edit = Reconfigure("c1", {"group": "C4"}, "copied")
    assert Reconfigure.from_json(edit.to_json()) == edit
    assert hash(Reconfigure.from_json(edit.to_json())) == hash(edit)
    assert json.loads(edit.to_json())["edit"] == "Reconfigure"
    with pytest.raises(ValueError, match="`slots` must be 'shared' or 'copied'"):
        Reconfigure("c1", {"group": "C4"}, "halved")


@pytest.fixture(scope="module")
def unchanged(eager_module):
    return trained(["C4"] * 2)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda m: m.relax("c1", "D4"), "Cannot relax layer 'c1' from C4 to D4.*use model.constrain"),
        (lambda m: m.relax("c1", "D1"), "Cannot relax layer 'c1' from C4 to D1.*Its subgroups: C1, C2"),
        (lambda m: m.constrain("c1", "C2"), "To loosen it, use model.relax"),
        (lambda m: m.constrain("c1", "D2"), "It must hold the present one"),
        (
            lambda m: m.relax("c9", "C1"),
            r"Layer 'c9' has no symmetry, or does not exist. Layers that have: \['c0', 'c1'",
        ),
        (lambda m: m.relax("c1", "C3"), "Unknown group"),
        (lambda m: m.apply(Reconfigure("dense", {"group": "C1"})), "no method `reweigh`"),
        (lambda m: m.apply(Reconfigure("c1", {"filters": 3})), "can change its `group` only"),
        (lambda m: m.apply(Reconfigure("c1", {"group": "D2"})), "relax it to C2 first, or constrain it to D4"),
        (lambda m: m.apply([Reconfigure("c1", {"group": "C1"}), Resize("c1", (0,))]), "and resize it at once"),
        (lambda m: m.apply([Reconfigure("c1", {"group": "C1"})] * 2), "changed twice at once"),
    ],
)
def test_edits_that_cannot_be_change_nothing(act, expected, unchanged):
    model = unchanged
    held = [*model.weights, *model.optimizer.variables]
    before = [read(v) for v in held]
    with pytest.raises(ValueError, match=expected):
        act(model)
    assert all(np.array_equal(a, read(v)) for a, v in zip(before, held, strict=True))
    assert set(model.symmetries.values()) == {Group("C4")}


def test_groups_outside_of_the_frame_are_refused():
    model = build(["C2"] * 2, frame="C4")
    with pytest.raises(ValueError, match="D4 is no subgroup of the frame C4"):
        model.constrain("c1", "D4")


def test_the_published_backbone_counts_as_published():
    count = {g: sum(int(np.prod(v.shape)) for v in EquivariantCNN(groups=g).trainable_variables) for g in ("D4", "C1")}
    assert count["D4"] == pytest.approx(874e3, rel=1e-3)
    assert count["C1"] == pytest.approx(6.97e6, rel=1e-2)


def test_the_backbone_is_exactly_invariant_unlike_the_pooling_of_the_paper():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(1).random((4, 28, 28, 1)).astype("float32")
    model = EquivariantCNN(width=1 / 8)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(x, np.arange(4))
    assert max(equivariance_error(model, x, "D4").values()) < 1e-5
    paper = EquivariantCNN(width=1 / 8, pooling="paper")
    paper.set_weights(model.get_weights())
    assert max(equivariance_error(paper, x, "C4").values()) > 1e-3
