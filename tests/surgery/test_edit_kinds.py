"""Features register kinds of edits: a toy one from outside is planned, carried out, logged and taken back as any other."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest

from keras_struct import Reconfigure, StructuralModel, grow
from keras_struct.core.backend import current
from keras_struct.core.model.parts import parts_of
from keras_struct.core.surgery import edit_kinds
from keras_struct.core.surgery.edit_kinds import EditKind, Write, register_edit
from keras_struct.layers import GrowableDense

X = np.random.default_rng(0).standard_normal((16, 3)).astype("float32")


@dataclass(frozen=True)
class Scale:
    """Multiplies the kernel of a layer."""

    layer: str
    factor: float


class Scaling(EditKind[Scale]):
    edit = Scale

    def plan(self, request, edits, touched):
        writes = []
        for edit in edits:
            if edit.layer in touched:
                raise ValueError(f"Cannot scale layer '{edit.layer}' and edit it in another way at once.")
            kernel = request.network.layers[edit.layer].kernel
            old = current().read(kernel)
            writes.append(Write(kernel, old, old * np.float32(edit.factor)))
        return writes, []

    def size(self, network, edit):
        return int(np.prod(network.layers[edit.layer].kernel.shape))

    def name(self, edit):
        return edit.layer

    def detail(self, edit):
        return f"times {edit.factor}"


@pytest.fixture
def scaling():
    register_edit(Scaling())
    yield
    del edit_kinds._KINDS[Scale]


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    found = StructuralModel([keras.Input((3,)), GrowableDense(4, name="h"), keras.layers.Dense(1, name="o")])
    found.compile("adam", "mse")
    return found


@pytest.mark.usefixtures("scaling")
def test_a_kind_from_outside_is_carried_out_and_logged(model):
    before = model.get_layer("o").kernel.numpy()
    event = model.apply(Scale("o", 2.0))
    np.testing.assert_array_equal(model.get_layer("o").kernel.numpy(), 2 * before)
    assert (event.edit, event.axis, event.before, event.after) == ("Scale", "o", 4, 4)
    assert event.reason.endswith("times 2.0")
    assert model.structure_log == [event]
    model.fit(X, X[:, :1], verbose=0)


@pytest.mark.usefixtures("scaling")
def test_it_goes_together_with_edits_of_other_layers_and_not_with_those_of_the_same(model):
    wide = StructuralModel(
        [keras.Input((3,)), GrowableDense(4, name="h"), GrowableDense(4, name="g"), keras.layers.Dense(1, name="o")]
    )
    events = wide.apply([grow("h", 4, 1, {"h/kernel": np.ones((3, 1))}), Scale("o", 3.0)])
    assert [event.edit for event in events] == ["Resize", "Scale"]
    weights = model.get_weights()
    with pytest.raises(ValueError, match="Cannot scale layer 'o'"):
        model.apply([grow("h", 4, 1, {"h/kernel": np.ones((3, 1))}), Scale("o", 3.0)])
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.structure.axes == {"h": 4}


def test_what_is_no_edit_and_what_is_not_registered_are_refused_with_the_kinds_that_are(model):
    with pytest.raises(TypeError, match=r"one of .*Reconfigure, Resize, Rewire.*Received: Scale\(layer='o'"):
        model.apply(Scale("o", 2.0))
    with pytest.raises(TypeError, match="Received: 'h'"):
        parts_of(model).editor.apply(["h"])


@pytest.mark.usefixtures("scaling")
def test_a_class_of_edits_belongs_to_one_kind():
    class Another(Scaling):
        pass

    with pytest.raises(ValueError, match="carried out by Scaling already"):
        register_edit(Another())
    register_edit(Scaling())  # the same again, as when a notebook's cell is run twice


def test_an_operation_that_is_no_layer_cannot_be_changed_and_the_error_says_so():
    x = keras.Input((3,))
    h = GrowableDense(4, name="h")(x)
    model = StructuralModel(x, keras.layers.Dense(1)(h + 2.0 * h))
    operation = next(name for name in parts_of(model).live.network.layers if name.startswith("add"))
    with pytest.raises(ValueError, match=f"Cannot change what layer '{operation}' is.*no method `reweigh`"):
        model.apply(Reconfigure(operation, {"group": "C1"}))
