"""Mixtures of symmetries: one convolution with the merged kernel, of norms that do not depend on the group."""

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import StructuralModel
from keras_struct.layers import GroupConv2D, MixedEquivariantConv
from keras_struct.symmetry import Group, compress, equivariance_error, expand
from keras_struct.symmetry.groups import NAMES
from keras_struct.testing import check_edit

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

RNG = np.random.default_rng(0)


def numbers(x):
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float64")))


def mixed(groups=NAMES, shape=(7, 7, 16), seed=0, **options):
    layer = MixedEquivariantConv(2, 3, groups, **options)
    layer.build((None, *shape))
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape))
    return layer


@pytest.mark.parametrize("lifting", [True, False])
def test_the_merged_convolution_is_the_mixture_of_convolutions(lifting):
    shape = (7, 7, 3 if lifting else 16)
    layer = mixed(shape=shape, lifting=lifting, frame="D4")
    x = RNG.standard_normal((2, *shape)).astype("float32")
    expected = 0.0
    alpha = numbers(layer.alpha)
    z = np.exp(alpha) / np.exp(alpha).sum()
    for share, group in zip(z, layer.groups, strict=True):
        kernel = numbers(layer.kernels[group.name])
        full = expand(kernel, (3, 3), group, layer.frame, lifting)
        kernel = kernel * float(numbers(layer.norm)) / np.linalg.norm(full)
        single = GroupConv2D(2, 3, group, None if lifting else "D4", "D4")
        single.build((None, *shape))
        single.kernel.assign(kernel)
        single.bias.assign(numbers(layer.biases[group.name]))
        expected = expected + share * numbers(single(x))
    assert np.abs(numbers(layer(x)) - expected).max() / np.abs(expected).max() < 1e-5
    assert sum(layer.mixture().values()) == pytest.approx(1)
    assert list(layer.mixture()) == list(NAMES)


def test_one_group_with_all_the_weight_is_its_group_convolution():
    layer = mixed(["C4", "D4"])
    layer.alpha.assign([0.0, 40.0])
    assert (
        max(
            equivariance_error(
                lambda x: numbers(layer(x)), RNG.random((2, 7, 7, 16)).astype("float32"), "D4", "D4", "D4"
            ).values()
        )
        < 1e-5
    )


def test_a_mixture_is_equivariant_to_what_its_groups_share():
    layer = mixed(["C4", "D2"])
    error = equivariance_error(
        lambda x: numbers(layer(x)), RNG.random((2, 7, 7, 16)).astype("float32"), "D4", "D4", "D4"
    )
    assert layer.group == Group("C2")
    for element in range(8):
        assert error[element] < 1e-5 if element in (0, 2) else error[element] > 1e-2


def test_the_scale_of_a_kernel_does_not_matter_and_all_start_with_the_same_norm():
    layer = mixed()
    x = RNG.standard_normal((2, 7, 7, 16)).astype("float32")
    before = numbers(layer(x))
    for name in ("C1", "D4"):
        layer.kernels[name].assign(10 * numbers(layer.kernels[name]))
    assert np.abs(numbers(layer(x)) - before).max() / np.abs(before).max() < 1e-5
    for i, group in enumerate(layer.groups):
        one_hot = np.full(len(layer.groups), -60.0)
        one_hot[i] = 0
        layer.alpha.assign(one_hot)
        assert np.linalg.norm(numbers(layer.expanded_kernel())) == pytest.approx(
            float(numbers(layer.norm)), rel=1e-5
        ), group


def test_the_gradient_by_the_mixture_is_its_finite_difference():
    layer = mixed(["C1", "C4", "D4"])
    inputs = keras.Input((7, 7, 16))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x, y = RNG.standard_normal((4, 7, 7, 16)).astype("float32"), np.zeros((4, 5, 5, 16), "float32")
    alpha = numbers(layer.alpha)
    expected = []
    for i in range(3):
        ends = []
        for step in (1e-2, -1e-2):
            layer.alpha.assign(alpha + step * np.eye(3)[i])
            ends.append(model.evaluate(x, y, verbose=0))
        expected.append((ends[0] - ends[1]) / 2e-2)
    layer.alpha.assign(alpha)
    for name in layer.kernels:
        layer.kernels[name].trainable = False
    model.train_on_batch(x, y)
    assert alpha - numbers(layer.alpha) == pytest.approx(np.array(expected), rel=2e-2, abs=1e-4)


def test_drawn_mixtures_are_those_of_the_relaxed_distribution_and_only_in_training():
    keras.utils.set_random_seed(0)
    layer = mixed(["C1", "C4", "D4"], temperature=0.1)
    layer.alpha.assign([0.0, 1.0, -1.0])
    draws = np.stack([numbers(layer.draw()) for _ in range(500)])
    np.testing.assert_allclose(draws.sum(axis=1), 1, atol=1e-5)
    frequencies = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    np.testing.assert_allclose(frequencies, list(layer.mixture().values()), atol=0.04)
    assert np.median(draws.max(axis=1)) > 0.95
    x = RNG.standard_normal((2, 7, 7, 16)).astype("float32")
    assert not np.allclose(numbers(layer(x, training=True)), numbers(layer(x, training=True)))
    np.testing.assert_array_equal(numbers(layer(x)), numbers(layer(x)))
    again = MixedEquivariantConv.from_config(layer.get_config())
    assert again.temperature == 0.1


def test_drawn_mixtures_can_be_trained():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 7, 16))
    layer = MixedEquivariantConv(2, 3, ["C1", "D4"], temperature=1.0)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    alpha = numbers(layer.alpha)
    model.fit(
        RNG.standard_normal((16, 7, 7, 16)), RNG.standard_normal((16, 5, 5, 16)), batch_size=16, epochs=2, verbose=0
    )
    assert (numbers(layer.alpha) != alpha).all()


def test_sums_are_plain_sums():
    layer = mixed(["C1", "D4"], mixing="sum", use_bias=False, kernel_regularizers={"C1": keras.regularizers.L2(0.5)})
    parts = [expand(numbers(layer.kernels[g.name]), (3, 3), g, layer.frame, False) for g in layer.groups]
    np.testing.assert_allclose(numbers(layer.expanded_kernel()), parts[0] + parts[1], rtol=1e-5, atol=1e-6)
    assert layer.alpha is None
    x = RNG.standard_normal((2, 7, 7, 16)).astype("float32")
    layer(x)
    assert float(numbers(sum(layer.losses))) == pytest.approx(0.5 * (numbers(layer.kernels["C1"]) ** 2).sum(), rel=1e-5)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(("penalty", "low", "high"), [(1e-6, 0.05, 1.0), (1.0, 0.0, 0.02)])
def test_a_prior_drives_the_free_kernel_and_the_distance_to_zero(penalty, low, high):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 7, 8))
    options = {"mixing": "sum", "use_bias": False, "kernel_regularizers": {"C1": keras.regularizers.L2(penalty)}}
    layer = MixedEquivariantConv(1, 3, ["C1", "D4"], **options)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 7, 7, 8)).astype("float32")
    y = numbers(mixed(["D4"], (7, 7, 8), mixing="sum")(x))[..., :8]
    for _ in range(45):
        model.train_on_batch(x, y)
    assert low <= float(numbers(layer.equivariance_distance("D4"))) <= high


@pytest.mark.parametrize("group", [None, "D2", "D4"])
def test_a_mixture_becomes_a_group_convolution(group):
    layer = mixed(["C4", "D2"], activation="tanh")
    single = layer.to_group_conv(group)
    x = RNG.standard_normal((2, 7, 7, 16)).astype("float32")
    if group is None:
        np.testing.assert_allclose(numbers(single(x)), numbers(layer(x)), rtol=1e-4, atol=1e-5)
    error = equivariance_error(lambda x: numbers(single(x)), x, single.group, "D4", "D4")
    assert max(error.values()) < 1e-5
    rows = compress(numbers(single.expanded_kernel()), single.group, single.frame, False)
    np.testing.assert_allclose(rows, numbers(single.kernel), rtol=1e-5)


def network(mixing):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = MixedEquivariantConv(3, 3, ["C1", "C4"], lifting=True, activation="relu", mixing=mixing, name="m0")(inputs)
    x = MixedEquivariantConv(2, 3, ["C1", "C4"], activation="relu", mixing=mixing, name="m1")(x)
    return StructuralModel(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("mixing", ["softmax", "sum"])
def test_mixtures_grow_train_save_and_export(mixing):
    x = RNG.standard_normal((8, 6, 6, 2)).astype("float32")

    def grow(model):
        width = model.structure.axes["m0"]
        edit = keras_struct.Resize("m0", (*range(width), 0, 1))
        return model.apply(edit, preserve=False)

    momentum = keras.optimizers.SGD(0.01, momentum=0.9)
    model = check_edit(lambda: network(mixing), grow, x, x.mean((1, 2, 3)), momentum, preserves=mixing == "sum")
    assert model.get_layer("m0").filters == 5
    np.testing.assert_allclose(numbers(model.to_plain()(x)), numbers(model(x)), rtol=1e-4, atol=1e-5)
    if mixing == "softmax":
        with pytest.raises(ValueError, match="norms its kernels over all of its fields"):
            model.grow("m0", 1)


def test_a_mixture_of_one_group_knows_how_many_fields_it_has():
    inputs = keras.Input((6, 6, 2))
    x = MixedEquivariantConv(3, 3, ["C4"], lifting=True, mixing="sum", name="m")(inputs)
    model = StructuralModel(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    model.apply(keras_struct.Resize("m", (0, 1, 2, 0)), preserve=False)
    assert model.get_layer("m").filters == 4


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: MixedEquivariantConv(2, 3, []), "one group or more, each once"),
        (lambda: MixedEquivariantConv(2, 3, ["C4", "p4"]), "one group or more, each once"),
        (lambda: MixedEquivariantConv(2, 3, ["C4", "D1"], frame="C4"), "D1 is no subgroup of the frame C4"),
        (lambda: MixedEquivariantConv(2, 3, mixing="mean"), "`mixing` must be"),
        (lambda: MixedEquivariantConv(2, 3, temperature=0.0), "`temperature` must be positive"),
        (lambda: MixedEquivariantConv(2, 3, temperature=1.0, mixing="sum"), "needs mixing='softmax'"),
        (lambda: MixedEquivariantConv(2, (3, 5), ["C2", "C4"]), "Kernels must be square"),
        (
            lambda: MixedEquivariantConv(2, 4, ["C4"], True, padding="same", strict=True).build((None, 8, 8, 1)),
            "not equivariant",
        ),
        (lambda: MixedEquivariantConv(2, 3).build((None, 7, 7, 12)), "reads fields of 8 channels"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


def test_layers_are_rebuilt_from_their_configuration():
    layer = MixedEquivariantConv(3, 5, ["C2", "D4"], kernel_regularizers={"C2": "l2"}, padding="same", mixing="sum")
    again = MixedEquivariantConv.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
