"""Layers whose connections come and go: what they compute, what an edit changes, what it refuses."""

import json

import keras
import numpy as np
import pytest

from keras_struct import Resize, Rewire, StructuralModel, sparsify
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.layers import MaskedConv2D, MaskedDense
from keras_struct.testing import check_edit
from keras_struct.testing.preservation import outputs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 6, 6, 2)).astype("float32")
Y = X.mean((1, 2))
pytestmark = pytest.mark.usefixtures("eager_module")  # how steps are compiled is tested by itself


def build(dormant="silent", seed=0):
    keras.utils.set_random_seed(seed)
    stack = [
        keras.Input((6, 6, 2)),
        MaskedConv2D(4, 3, activation="relu", name="c", dormant=dormant),
        keras.layers.Flatten(),
        MaskedDense(5, activation="relu", name="h", dormant=dormant),
        keras.layers.Dense(2, name="o"),
    ]
    return StructuralModel(stack)


def trained(optimizer="adam", **options):
    model = build(**options)
    model.compile(optimizer, "mse")
    return train(model)


def train(model):
    model.train_on_batch(X, Y)
    return model


def output(model):
    return outputs(model, X)[0]


def read(variable):
    return current().read(variable)


def half(model, name, seed=1):
    return np.random.default_rng(seed).random(model.get_layer(name).kernel.shape) < 0.5


def state(model):
    return [read(v) for v in (*model.weights, *model.optimizer.variables)]


@pytest.mark.parametrize("dormant", ["silent", "training"])
def test_a_masked_network_computes_what_one_with_zeros_would(dormant):
    model = trained(dormant=dormant)
    masks = {name: half(model, name) for name in ("c", "h")}
    model.apply([Rewire(name, mask) for name, mask in masks.items()])
    plain = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    weights = []
    for layer in ("c", "h", "o"):
        kernel, bias = read(model.get_layer(layer).kernel), read(model.get_layer(layer).bias)
        weights += [kernel * masks[layer] if layer in masks else kernel, bias]
    plain.set_weights(weights)
    np.testing.assert_array_equal(output(model), output(plain))
    np.testing.assert_array_equal(output(model.to_plain()), output(plain))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "ftrl", "lion"])
def test_connections_that_are_gone_stay_zero_and_the_others_train_on_with_their_slots(optimizer):
    model = trained(optimizer)
    mask, kernel = half(model, "h"), model.get_layer("h").kernel
    slots = [s for s in parts_of(model).editor.optimizer.live_slots() if s.reference is kernel]
    before = [read(kernel), *(read(s.variable) for s in slots)]
    event = model.apply(Rewire("h", mask))
    assert (event.axis, event.before, event.after, event.edit) == ("h", mask.size, mask.sum(), "Rewire")
    for old, variable in zip(before, (kernel, *(s.variable for s in slots)), strict=True):
        np.testing.assert_array_equal(read(variable)[mask], old[mask])
    for slot in slots:
        assert (read(slot.variable)[~mask] == slot.initial).all()
    train(model)
    after = read(kernel)
    assert (after[~mask] == 0).all()
    assert (after != before[0])[mask].any()


def test_new_connections_start_from_given_weights_and_fresh_slots():
    model = trained()
    first = half(model, "h")
    model.apply(Rewire("h", first))
    train(model)
    kernel, second = model.get_layer("h").kernel, half(model, "h", seed=2)
    before, values = read(kernel), RNG.standard_normal(second.shape).astype("float32")
    model.apply(Rewire("h", second, values=values))
    born = second & ~first
    np.testing.assert_array_equal(read(kernel)[born], values[born])
    np.testing.assert_array_equal(read(kernel)[second & first], before[second & first])
    for slot in (s for s in parts_of(model).editor.optimizer.live_slots() if s.reference is kernel):
        assert (read(slot.variable)[born] == slot.initial).all()
    third = np.ones_like(second)
    before = output(model)
    model.apply(Rewire("h", third))  # zero weights: the function is kept
    np.testing.assert_array_equal(output(model), before)
    train(model)
    assert (read(kernel)[~second] != 0).any()  # and they learn


def test_a_shift_moves_connections_that_stay_and_no_others():
    model = trained()
    mask, kernel = half(model, "c"), model.get_layer("c").kernel
    model.apply(Rewire("c", mask))
    before, shift = read(kernel), np.ones(mask.shape)
    more = mask.copy()
    more.flat[np.flatnonzero(~mask)[0]] = True
    model.apply(Rewire("c", more, shift=shift))
    np.testing.assert_allclose(read(kernel), before + mask, rtol=1e-6)


def test_dormant_weights_that_train_come_back_with_what_they_have_become():
    model = trained(dormant="training")
    mask, kernel = half(model, "h"), model.get_layer("h").kernel
    before = read(kernel)
    model.apply(Rewire("h", mask))
    np.testing.assert_array_equal(read(kernel), before)  # kept, though not used
    train(model)
    moved = read(kernel)
    assert (moved != before)[~mask].any()
    model.apply(Rewire("h", np.ones_like(mask)))
    np.testing.assert_array_equal(read(kernel), moved)


@pytest.mark.usefixtures("compiled")
def test_a_training_step_survives_edits_without_a_new_trace():
    model = trained()
    step = model.train_function
    model.apply([Rewire("c", half(model, "c")), Rewire("h", half(model, "h"))])
    model.grow("c", 1)
    model.fit(X, Y, batch_size=16, verbose=0)
    assert parts_of(model).editor.retraces == 0
    assert model.train_function is step


def sparse():
    model = build()
    model.apply([Rewire(name, half(model, name)) for name in ("c", "h")])
    return model


@pytest.mark.parametrize(
    ("edit", "preserves"),
    [
        (lambda m: (m.split("h", [1, 3]), m.grow("c", 2))[1], True),
        (lambda m: m.prune("c", units=[0]), False),
    ],
    ids=["split and grow", "prune"],
)
def test_unit_edits_carry_masks_along(edit, preserves):
    model = check_edit(sparse, edit, X, Y, preserves=preserves)
    for name in ("c", "h"):
        layer = model.get_layer(name)
        assert tuple(layer.mask.shape) == tuple(layer.kernel.shape)
        assert (read(layer.kernel)[~read(layer.mask)] == 0).all()


def test_new_units_have_all_connections_and_copies_those_of_their_ancestor():
    model = sparse()
    conv, old = model.get_layer("c"), read(model.get_layer("c").mask)
    model.apply(Resize("c", (0, 0, 1, 2, 3, -1), {"c/kernel": RNG.standard_normal((3, 3, 2, 1))}))
    mask = read(conv.mask)
    np.testing.assert_array_equal(mask[..., :5], old[..., [0, 0, 1, 2, 3]])
    assert mask[..., 5].all()
    assert read(model.get_layer("h").mask).reshape(4, 4, 6, 5)[:, :, 5].all()


def test_masks_are_saved_and_loaded_and_cloned(tmp_path):
    model = trained()
    model.apply(Rewire("h", half(model, "h")))
    train(model)
    for name in ("m.keras", "m.weights.h5"):
        if name.endswith(".keras"):
            model.save(tmp_path / name)
            loaded = keras.models.load_model(tmp_path / name)
        else:
            model.save_weights(tmp_path / name)
            loaded = build(seed=5)
            loaded.load_weights(tmp_path / name)
        np.testing.assert_array_equal(read(loaded.get_layer("h").mask), read(model.get_layer("h").mask))
        np.testing.assert_array_equal(output(loaded), output(model))
    copy = StructuralModel.from_model(model)
    np.testing.assert_array_equal(output(copy), output(model))
    assert copy.connections == model.connections


def test_an_edit_survives_json():
    edit = Rewire("h", half(build(), "h"), values=RNG.standard_normal((64, 5)))
    again = Rewire.from_json(edit.to_json())
    assert again == edit
    assert hash(again) == hash(edit)
    assert edit != Rewire("h", edit.mask)
    assert json.loads(edit.to_json())["edit"] == "Rewire"


def test_masks_with_other_values_than_booleans_are_refused():
    with pytest.raises(ValueError, match="must hold booleans, or 0 and 1 only"):
        Rewire("h", np.full((64, 5), 0.5))
    assert Rewire("h", np.ones((64, 5))).mask.dtype == bool
    assert Rewire("h", [0, 1, 0]) == Rewire("h", [False, True, False])


def test_edits_are_equal_that_do_the_same():
    mask, values = np.eye(2), np.arange(4.0).reshape(2, 2)
    edit = Rewire("h", mask, values, values + 1)
    assert edit == Rewire("h", mask, values.tolist(), values + 1)
    for other in (
        Rewire("g", mask, values, values + 1),
        Rewire("h", 1 - mask, values, values + 1),
        Rewire("h", mask, values + 1, values + 1),
        Rewire("h", mask, values, values),
        Rewire("h", mask, values),
        Rewire("h", mask),
        "h",
    ):
        assert (edit == other) is False


@pytest.fixture(scope="module")
def untouched(eager_module):
    """A trained network that no test changes."""
    return trained()


ONES = {"c": np.ones((3, 3, 2, 4)), "h": np.ones((64, 5))}


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([Rewire("o", np.ones((5, 2)))], "has no mask. Masked layers are"),
        ([Rewire("h", ONES["h"]), Rewire("h", ONES["h"])], "Conflicting masks"),
        ([Rewire("h", ONES["h"]), Resize("h", (0, 1))], "units that lie along its kernel at once"),
        ([Rewire("h", ONES["h"]), Resize("c", (0, 1))], "units that lie along its kernel at once"),
        ([Rewire("h", np.ones((3, 5)))], r"`mask` for layer 'h' has shape \(3, 5\)"),
        ([Rewire("h", ONES["h"], values=np.ones(5))], "`values` for layer 'h' has shape"),
        ([Rewire("h", np.zeros((64, 5)))], "Cannot remove all connections"),
        ([Rewire("c", ONES["c"]), Rewire("h", ONES["h"], shift=np.full((64, 5), np.nan))], "NaN or infinity"),
    ],
)
def test_edits_that_do_not_fit_change_nothing(edits, expected, untouched):
    model = untouched
    before = state(model)
    with pytest.raises(ValueError, match=expected):
        model.apply(edits)
    assert all(np.array_equal(a, b) for a, b in zip(before, state(model), strict=True))
    assert not model.structure_log


def test_values_of_a_resize_are_not_taken_for_those_of_a_mask():
    with pytest.raises(ValueError, match="give a `Rewire` its own"):
        build().apply(Rewire("h", ONES["h"]), values={"h/kernel": np.ones((64, 5))})


def test_dormant_weights_are_silent_or_training():
    with pytest.raises(ValueError, match="`dormant` must be 'silent', 'training' or 'kept'"):
        MaskedDense(3, dormant="asleep")


def test_half_precision_is_followed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("adam", "mse")
    model.apply(Rewire("h", half(model, "h")))
    train(model)
    assert (read(model.get_layer("h").kernel)[~half(model, "h")] == 0).all()


def test_models_with_masked_layers_inside_others_are_edited_by_path():
    inner = keras.Sequential(
        [keras.Input((6, 6, 2)), keras.layers.Flatten(), keras.layers.Dense(4, name="d")], name="in"
    )
    model = sparsify(keras.Sequential([keras.Input((6, 6, 2)), inner, keras.layers.Dense(2, name="d")]))
    assert model.connections == {"in/d": 288, "d": 8}
    model.prune_connections(0.5, scope="local")
    assert model.connections == {"in/d": 144, "d": 4}
