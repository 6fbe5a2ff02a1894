"""Layers that commute with rotations and mirrors: against explicit loops, with negative controls, trained, in half precision."""

import keras
import numpy as np
import pytest

from keras_struct.core.backend import current
from keras_struct.layers import GroupBatchNormalization, GroupConv2D, GroupPooling2D
from keras_struct.symmetry import Group, equivariance_error
from keras_struct.symmetry.groups import NAMES, act_on_grid, inverse, product
from keras_struct.symmetry.tables import act_on_features

GROUPS = [Group(name) for name in NAMES]
PAIRS = [pytest.param(g, f, id=f"{g}-{f}") for f in (Group("C4"), Group("D4"), Group("D2")) for g in f.subgroups()]
RNG = np.random.default_rng(0)


def numbers(x):
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float64")))


def randomized(layer, shape, seed=0):
    """A built layer with random weights, biases included."""
    layer.build((None, *shape))
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign(rng.standard_normal(variable.shape) * 0.5)
    return layer


def errors(layer, shape, group=None, lifting=False, dtype="float32"):
    x = np.random.default_rng(1).standard_normal((2, *shape)).astype(dtype)
    frame = layer.frame
    return equivariance_error(lambda x: numbers(layer(x)), x, group or frame, frame, None if lifting else frame)


OPTIONS = [
    ({}, (7, 6)),
    ({"padding": "same"}, (6, 7)),
    ({"strides": 2}, (7, 9)),
    ({"dilation_rate": 2, "padding": "same"}, (7, 8)),
]


@pytest.mark.parametrize(("group", "frame"), PAIRS)
@pytest.mark.parametrize("lifting", [True, False])
def test_convolutions_commute_with_their_group_and_with_nothing_else(group, frame, lifting):
    options, extent = OPTIONS[(GROUPS.index(group) + GROUPS.index(frame) + 2 * lifting) % len(OPTIONS)]
    shape = (*extent, 2 * (1 if lifting else frame.order))
    layer = GroupConv2D(2, 3, group, None if lifting else frame, frame, activation="tanh", **options)
    found = errors(randomized(layer, shape), shape, lifting=lifting)
    for element, error in found.items():
        assert error < 1e-5 if element in group.elements else error > 0.1


def by_loops(layer, x):
    """Equations 2 and 3, position by position and element by element."""
    kernel, bias, group, frame = numbers(layer.kernel), numbers(layer.bias), layer.group, layer.frame
    size, ins = layer.kernel_size[0], layer.input_order
    representatives = group.representatives(frame)
    steps = x.shape[1] - size + 1
    out = np.zeros((len(x), steps, steps, layer.filters, frame.order))
    fields = x.reshape(*x.shape[:3], -1, ins)
    pixels = np.arange(size * size).reshape(size, size)
    for j, g in enumerate(frame.elements):
        k, t = next(
            (k, t) for k in group.elements for t in range(len(representatives)) if product(k, representatives[t]) == g
        )
        for u in np.ndindex(size, size):
            before = np.argwhere(act_on_grid(inverse(k), pixels) == pixels[u])[0]  # k⁻¹u
            flat = before[0] * size + before[1]
            for i, h in enumerate(frame.elements if ins > 1 else (0,)):
                if ins == 1:
                    row = flat * len(representatives) + t
                else:
                    moved = product(inverse(k), h)
                    m, s = next(
                        (m, s)
                        for m, a in enumerate(group.elements)
                        for s in range(len(representatives))
                        if product(a, representatives[s]) == moved
                    )
                    row = ((flat * group.order + m) * len(representatives) + s) * len(representatives) + t
                window = fields[:, u[0] : u[0] + steps, u[1] : u[1] + steps, :, i]
                out[..., j] += np.einsum("bhwc,cd->bhwd", window, kernel[row])
        out[..., j] += bias[:, t]
    return out.reshape(*out.shape[:3], -1)


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("lifting", [True, False])
def test_convolutions_are_the_sums_of_the_equations(group, lifting):
    frame = Group("D4")
    shape = (5, 5, 2 * (1 if lifting else frame.order))
    layer = randomized(GroupConv2D(2, 3, group, None if lifting else "D4"), shape)
    x = RNG.standard_normal((2, *shape)).astype("float32")
    expected = by_loops(layer, x.astype(np.float64))
    assert np.abs(numbers(layer(x)) - expected).max() / np.abs(expected).max() < 1e-5


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("mixed_bfloat16", 1e-2), ("mixed_float16", 3e-3)])
def test_equivariance_in_other_precisions(dtype, bound):
    layer = randomized(GroupConv2D(2, 3, "D4", "D4", dtype=dtype), (6, 6, 16))
    assert max(errors(layer, (6, 6, 16), dtype="float64" if dtype == "float64" else "float32").values()) < bound


def test_all_groups_start_with_the_same_spread():
    x = RNG.standard_normal((4, 9, 9, 64)).astype("float32")
    spread = []
    for group in GROUPS:
        keras.utils.set_random_seed(0)
        spread.append(numbers(GroupConv2D(16, 3, group, "D4", use_bias=False)(x)).std())
    assert max(spread) / min(spread) < 1.25
    assert np.mean(spread) == pytest.approx(np.sqrt(2), rel=0.15)


def test_parameters_fall_with_the_order_of_the_group():
    for group in GROUPS:
        layer = GroupConv2D(3, 5, group, "D4", use_bias=False)
        layer.build((None, 9, 9, 16))
        assert layer.count_params() - 25 * 64 - 8 == 25 * 64 * 2 * 3 // group.order


@pytest.mark.parametrize(("group", "frame"), PAIRS)
def test_normalisation_stays_equivariant_in_training_and_after_it(group, frame):
    shape = (5, 5, 2 * frame.order)
    layer = randomized(GroupBatchNormalization(group, frame, momentum=0.5), shape)
    x = RNG.standard_normal((16, *shape)).astype("float32") * np.arange(1, 2 * frame.order + 1, dtype="float32")
    for _ in range(3):
        training = numbers(layer(x, training=True))
    plain = numbers(layer(x))

    def error(element, output, **options):
        turned = numbers(layer(act_on_features(element, x, frame).copy(), **options))
        return np.abs(turned - act_on_features(element, output, frame)).max() / np.abs(output).max()

    found = {element: error(element, plain) for element in frame.elements}
    for element in frame.elements:
        assert found[element] < 1e-5 if element in group.elements else found[element] > 1e-2
    assert max(error(element, training, training=True) for element in group.elements) < 1e-5


def test_with_one_element_it_is_keras_batch_normalisation():
    x = RNG.standard_normal((16, 4, 4, 8)).astype("float32") * 3 + 1
    ours, theirs = GroupBatchNormalization("C1", "D4", momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for _ in range(3):
        np.testing.assert_allclose(numbers(ours(x, training=True)), numbers(theirs(x, training=True)), atol=1e-5)
    np.testing.assert_allclose(numbers(ours(x)), numbers(theirs(x)), atol=1e-5)


def test_tied_statistics_are_those_of_all_elements_together():
    x = RNG.standard_normal((16, 4, 4, 8)).astype("float32") * np.arange(1, 9, dtype="float32")
    layer = GroupBatchNormalization("D4", "D4", momentum=0.0)
    output = numbers(layer(x, training=True))
    assert numbers(layer.moving_mean).ravel() == pytest.approx(np.full(8, x.mean()), abs=1e-4)
    assert numbers(layer.moving_variance).ravel() == pytest.approx(np.full(8, x.var()), rel=1e-4)
    np.testing.assert_allclose(output, (x - x.mean()) / np.sqrt(x.var() + 1e-3), atol=1e-4)


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}, {"center": False, "scale": False}])
def test_normalisation_without_scale_or_offset(options):
    layer = GroupBatchNormalization("C4", "D4", **options)
    x = RNG.standard_normal((4, 3, 3, 16)).astype("float32")
    assert numbers(layer(x, training=True)).shape == x.shape
    assert len(layer.trainable_variables) == 2 - len(options)


@pytest.mark.parametrize(("group", "frame"), PAIRS)
@pytest.mark.parametrize("mode", ["mean", "max"])
def test_pooling_reduces_over_cosets(group, frame, mode):
    x = RNG.standard_normal((2, 3, 3, 2 * frame.order)).astype("float32")
    layer = GroupPooling2D(group, frame, mode)
    fields = x.reshape(2, 3, 3, 2, frame.order)
    places = {element: i for i, element in enumerate(frame.elements)}
    reduce = np.mean if mode == "mean" else np.max
    blocks = [[places[product(a, t)] for a in group.elements] for t in group.representatives(frame)]
    expected = np.stack([reduce(fields[..., block], axis=-1) for block in blocks], axis=-1).reshape(2, 3, 3, -1)
    np.testing.assert_allclose(numbers(layer(x)), expected, rtol=1e-5, atol=1e-6)
    vectors = x[:, 0, 0]
    np.testing.assert_allclose(numbers(layer(vectors)), expected[:, 0, 0], rtol=1e-5, atol=1e-6)


def test_pooling_over_the_frame_is_invariant_behind_global_pooling():
    conv = randomized(GroupConv2D(3, 3, "D4", padding="same"), (7, 7, 2))
    for mode in ("mean", "max"):
        pool = GroupPooling2D("D4", mode=mode)
        found = equivariance_error(
            lambda x, pool=pool: numbers(pool(keras.ops.mean(conv(x), axis=(1, 2)))),
            RNG.standard_normal((2, 7, 7, 2)).astype("float32"),
            "D4",
        )
        assert max(found.values()) < 1e-5


def test_a_kernel_may_be_oblong_without_quarter_turns():
    layer = randomized(GroupConv2D(2, (3, 5), "D2", frame="D2", padding="same"), (6, 7, 2))
    assert max(errors(layer, (6, 7, 2), lifting=True).values()) < 1e-5


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: GroupConv2D(2, 3, "C3"), "Unknown group"),
        (lambda: GroupConv2D(2, 3, "D4", frame="C4"), "D4 is no subgroup of the frame C4: expected one of C1, C2, C4"),
        (lambda: GroupConv2D(2, 3, "C4", "D2"), "C4 is no subgroup of the group of the input D2"),
        (lambda: GroupConv2D(2, (3, 5), "C4"), "Kernels must be square for C4"),
        (lambda: GroupConv2D(0, 3), "`filters` must be a positive integer"),
        (lambda: GroupConv2D(2, 0), "`kernel_size` must be a positive integer"),
        (lambda: GroupConv2D(2, 3, strides=(1, 2, 3)), "`strides` must be an integer or two"),
        (lambda: GroupConv2D(2, 3, padding="causal"), "`padding` must be 'valid' or 'same'"),
        (lambda: GroupConv2D(2, 3, input_group="D4").build((None, 7, 7, 12)), "reads fields of 8 channels"),
        (lambda: GroupBatchNormalization("C4").build((None, 7, 7, 12)), "reads fields of 8 channels"),
        (lambda: GroupPooling2D("D4").build((None, 12)), "a multiple of 8"),
        (lambda: GroupPooling2D("D4", mode="sum"), "`mode` must be 'mean' or 'max'"),
        (
            lambda: GroupPooling2D("D4", mode="max", input_group="C4"),
            "no subgroup of the group that the input of",
        ),
        (
            lambda: GroupConv2D(2, 4, padding="same", strict=True).build((None, 8, 8, 1)),
            "not equivariant to C4",
        ),
        (lambda: GroupConv2D(2, 3, strides=2, strict=True).build((None, 8, 8, 1)), "lie unevenly on an axis of 8"),
    ],
)
def test_what_cannot_be_is_refused(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()


def test_broken_symmetry_is_warned_of_when_the_layer_is_built():
    with pytest.warns(UserWarning, match=r"not equivariant to D4: windows of 4 with stride 1 and padding 'same'"):
        GroupConv2D(2, 4, "D4", padding="same").build((None, 8, 8, 1))
    GroupConv2D(2, 4, "C1", padding="same").build((None, 8, 8, 1))  # promises nothing
    GroupConv2D(2, 3, "D4", padding="same").build((None, None, None, 1))  # whatever the size
    with pytest.warns(UserWarning, match="on axes of 3, 5, 7, 9, ..., and the size of its input is not known"):
        GroupConv2D(2, 3, "D4", strides=2, padding="same").build((None, None, None, 1))


@pytest.mark.parametrize("frame", ["C4", "D4"])
def test_distance_is_zero_inside_of_the_group_and_grows_outside(frame):
    outer = Group(frame)
    for group in outer.subgroups():
        layer = randomized(GroupConv2D(3, 3, group, frame, frame), (7, 7, 2 * outer.order))
        for other in outer.subgroups():
            found = float(numbers(layer.equivariance_distance(other)))
            assert found < 1e-6 if other <= group else found > 0.1


def test_distance_can_be_followed_downhill():
    layer = randomized(GroupConv2D(2, 3, "C1", "C4", "C4"), (7, 7, 8))
    inputs = keras.Input((7, 7, 8))
    model = keras.Model(inputs, layer(inputs))
    model.compile(
        keras.optimizers.Adam(0.1), loss=lambda y, p: layer.equivariance_distance("C4") + 0 * keras.ops.sum(p)
    )
    before = float(numbers(layer.equivariance_distance("C4")))
    x = np.zeros((4, 7, 7, 8), "float32")
    model.fit(x, np.zeros((4, 5, 5, 8), "float32"), epochs=20, batch_size=4, verbose=0)
    assert float(numbers(layer.equivariance_distance("C4"))) < 0.3 * before


def test_layers_are_rebuilt_from_their_configuration():
    for layer in (
        GroupConv2D(
            3, 5, "D2", "D4", strides=2, activation="relu", kernel_regularizer="l2", max_filters=9, strict=True
        ),
        GroupBatchNormalization("C2", "C4", momentum=0.8, center=False),
        GroupPooling2D("C2", "C4", "max", "C4"),
    ):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert (again.group, again.frame) == (layer.group, layer.frame)


def test_reading_weights_from_the_backend():
    layer = randomized(GroupConv2D(3, 3), (7, 7, 2))
    assert current().read(layer.kernel).shape == (layer.free_rows, 2, 3)
