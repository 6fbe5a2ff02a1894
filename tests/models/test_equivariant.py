"""Ordinary networks become equivariant; equivariant ones become ordinary."""

import keras
import numpy as np
import pytest

from keras_struct import to_equivariant
from keras_struct.applications import EquivariantCNN
from keras_struct.layers import GroupConv2D, GroupPooling2D
from keras_struct.models import StructuralModel
from keras_struct.statistics import flops, flops_per_layer
from keras_struct.symmetry import equivariance_error
from keras_struct.testing.preservation import outputs

pytestmark = [
    pytest.mark.filterwarnings("ignore:With the symmetry"),
    pytest.mark.usefixtures("eager_module"),  # for most, what is tested is not how steps are compiled
]
L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.random((8, 12, 12, 1)).astype("float32")


def plain(top="pool"):
    inputs = keras.Input((12, 12, 1))
    x = L.Conv2D(16, 3, padding="same", use_bias=False)(L.Rescaling(2.0)(inputs))
    x = L.ReLU()(L.BatchNormalization()(x))
    y = L.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = L.Concatenate()([L.Add()([x, y]), y])
    x = L.Conv2D(32, 3, padding="same", activation="relu", name="last")(L.MaxPooling2D()(x))
    x = L.GlobalMaxPooling2D()(x) if top == "pool" else L.Flatten()(x)
    x = L.Dropout(0.1)(L.Dense(8, activation="relu")(x))
    return keras.Model(inputs, L.Dense(3, activation="softmax")(x))


@pytest.mark.parametrize(
    ("group", "frame", "top"),
    [("C4", None, "flatten"), ("D4", None, "pool"), ("D1", "D2", "pool"), ("D1", "D2", "flatten")],
)
def test_a_network_becomes_invariant_and_stays_so_while_it_trains(group, frame, top, request):
    if (group, top) == ("D4", "pool"):
        request.getfixturevalue("compiled")
    keras.utils.set_random_seed(0)
    model = to_equivariant(plain(top), group, frame)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    before = outputs(model, X)[0]
    model.fit(X, np.arange(8) % 3, batch_size=4, verbose=0)
    assert np.abs(outputs(model, X)[0] - before).max() > 1e-3
    assert max(equivariance_error(model, X, group).values()) < 1e-5
    assert model.get_layer("last").filters * model.get_layer("last").frame.order == 32
    if frame:
        assert max(equivariance_error(model, X, frame).values()) > 1e-4


def test_images_may_be_augmented_first_and_uneven_poolings_are_told():
    layers = [L.RandomFlip("horizontal"), L.Conv2D(16, 3), L.GlobalAveragePooling2D(), L.Dense(2)]
    model = to_equivariant(keras.Sequential([keras.Input((9, 9, 1)), *layers]), "D4")
    assert max(equivariance_error(model, X[:, :9, :9], "D4").values()) < 1e-5
    layers = [L.Conv2D(16, 3, padding="same"), L.MaxPooling2D(2), L.GlobalAveragePooling2D()]
    with pytest.warns(UserWarning, match="does not keep D4: windows of 2 with stride 2"):
        to_equivariant(keras.Sequential([keras.Input((9, 9, 1)), *layers]), "D4")


def test_weight_files_bring_symmetries_along_whatever_layers_are_called(tmp_path):
    def made():
        layers = [L.Conv2D(16, 3), L.BatchNormalization(), L.ReLU(), L.GlobalAveragePooling2D(), L.Dense(2)]
        return to_equivariant(keras.Sequential([keras.Input((12, 12, 1)), *layers]), "D4")

    first, second = made(), made()  # Keras calls the layers of the second by other names
    first.relax(next(iter(first.symmetries)), "C2")
    first.save_weights(tmp_path / "m.weights.h5")
    second.load_weights(tmp_path / "m.weights.h5")
    assert [group.name for group in second.symmetries.values()] == ["C2", "C2", "D4"]
    np.testing.assert_array_equal(outputs(second, X)[0], outputs(first, X)[0])


def convolutions(*filters):
    layers = [L.Conv2D(n, 3, padding="same", name=f"conv{i}") for i, n in enumerate(filters)]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, L.GlobalAveragePooling2D(), L.Dense(2)])


@pytest.mark.filterwarnings("error")
def test_how_many_fields_remain_is_said_and_few_are_warned_of(capsys):
    with pytest.warns(UserWarning, match=r"remain: 'conv0' 2, 'conv1' 2, 'conv2' 4\. .* Pass width=4"):
        to_equivariant(convolutions(16, 16, 32), "D4")
    expected = "Independent fields under D4: conv0 2 of 16 channels, conv1 2 of 16 channels, conv2 4 of 32 channels.\n"
    assert capsys.readouterr().out == expected
    to_equivariant(convolutions(32, 64), "C4")  # 8 and 16: enough
    assert "conv0 8 of 32 channels, conv1 16 of 64 channels" in capsys.readouterr().out
    to_equivariant(convolutions(16), "C2", frame="D4", verbose=0)  # what is tied is the group, not the frame
    assert capsys.readouterr().out == ""
    with pytest.warns(UserWarning, match=r"remain: 'conv0' 4\. .* Pass width=2"):
        to_equivariant(convolutions(16, 32), "C4", verbose=0)


@pytest.mark.filterwarnings("error")
def test_the_width_that_the_warning_names_is_enough():
    wide = to_equivariant(convolutions(16, 16, 32), "D4", width=4, verbose=0)
    assert [wide.get_layer(f"conv{i}").filters for i in range(3)] == [8, 8, 16]
    assert max(equivariance_error(wide, X[:, :8, :8], "D4").values()) < 1e-5
    assert to_equivariant(convolutions(12), "D4", width=6, verbose=0).get_layer("conv0").filters == 9
    with pytest.raises(ValueError, match=r"12 filters times width=1\.5 in 1 groups: expected a multiple of 8"):
        to_equivariant(convolutions(12), "D4", width=1.5)
    with pytest.raises(ValueError, match=r"`width` must be positive\. Received: width=0"):
        to_equivariant(convolutions(16), "D4", width=0)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([L.Conv2D(12, 3)], "12 filters in 1 groups: expected a multiple of 8"),
        ([L.Conv2D(16, 3), L.LayerNormalization()], r"\(LayerNormalization\) has no equivariant form"),
        ([L.Conv2D(16, 3), L.DepthwiseConv2D(3)], r"\(DepthwiseConv2D\) has no equivariant form"),
    ],
)
def test_what_has_no_equivariant_form_is_named(layers, expected):
    with pytest.raises(ValueError, match=expected):
        to_equivariant(keras.Sequential([keras.Input((8, 8, 1)), *layers]), "D4")


@pytest.mark.parametrize("groups", ["D4", pytest.param("C4", marks=pytest.mark.slow), [["C1", "D2"]] * 8])
def test_the_exported_network_is_stock_and_computes_the_same(groups, tmp_path):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(1).random((4, 28, 28, 1)).astype("float32")
    model = EquivariantCNN(width=1 / 8, groups=groups)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(x, np.arange(4))
    exported = model.to_plain()
    exported.save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    np.testing.assert_allclose(outputs(loaded, x)[0], outputs(model, x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("group", ["C2", "D2", "D4"])
def test_pooling_over_cosets_is_exported(mode, group):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2))
    maps = GroupPooling2D(group, "D4", mode)(GroupConv2D(3, 3, "D4")(inputs))
    model = StructuralModel(inputs, maps)
    x = RNG.random((2, 8, 8, 2)).astype("float32")
    np.testing.assert_allclose(outputs(model.to_plain(), x)[0], outputs(model, x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"groups": ["D4"] * 3}, "one for each of the 8 convolutions"),
        ({"groups": "D4", "frame": "C4"}, "D4 is no subgroup of the frame C4"),
        ({"input_shape": (6, 6, 1)}, "at least 8 x 8"),
        ({"pooling": "none"}, "`pooling` must be 'exact' or 'paper'"),
    ],
)
def test_backbones_that_cannot_be_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        EquivariantCNN(width=1 / 8, **options)


def test_operations_are_those_of_the_exported_network():
    model = EquivariantCNN(width=1 / 8, groups=["D4"] * 4 + [["C1", "C4"]] * 4)
    plain_one = model.to_plain()
    counts, expected = (flops_per_layer(m, unknown="zero") for m in (model, plain_one))
    assert {n: c for n, c in counts.items() if n != "orbits"} == {n: c for n, c in expected.items() if n != "orbits"}
    assert flops(model) == pytest.approx(flops(plain_one), rel=1e-3)


def test_sizes_that_are_not_known_are_warned_of_where_not_all_of_them_are_exact():
    def network(strides, pooling):
        inputs = keras.Input((None, None, 3))
        x = L.Conv2D(8, 3, strides=strides, padding="same", activation="relu")(inputs)
        x = L.MaxPooling2D()(x) if pooling else x
        return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(L.Conv2D(8, 3, padding="same")(x))))

    for strides, pooling in ((2, False), (1, True)):
        with pytest.warns(UserWarning, match="the size of its input is not known"):
            model = to_equivariant(network(strides, pooling), "C4")
        exact = 15 if strides == 2 else 16
        x = np.random.default_rng(0).standard_normal((2, exact, exact, 3)).astype("float32")
        assert max(equivariance_error(model, x, "C4").values()) < 1e-5
    to_equivariant(network(1, False), "C4")  # every size is exact
