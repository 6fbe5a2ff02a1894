"""Fused cells compute what cells of one layer for each operation do, and can be thinned out."""

from functools import cache

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.core.backend import current
from keras_struct.layers import ArchitectureWeights, DartsCell
from keras_struct.nas.darts_operations import asymmetric
from keras_struct.nas.genotypes import OPERATIONS
from keras_struct.search import DARTS_V1, DARTS_V2, NASNET, PRIMITIVES
from keras_struct.testing.unfused_cell import UnfusedCell

pytestmark = pytest.mark.usefixtures("eager_module")  # what is tested is not how steps are compiled

RNG = np.random.default_rng(0)


def images(size, channels):
    return RNG.standard_normal((4, size, size, channels)).astype("float32")


def numbers(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


def shaken(layer):
    """Random weights of any kind, so that no scale is 1 by accident."""
    for weight in layer.trainable_weights:
        if "kernel" not in weight.name:
            weight.assign(numbers(weight) + RNG.uniform(-0.2, 0.2, weight.shape))


CELLS = {
    "supernet": {"nodes": 2},
    "reduction": {"nodes": 1, "reduction": True},
    "behind a reduction": {"nodes": 1, "after_reduction": True, "operations": PRIMITIVES[3:5]},
    "clipped": {"nodes": 1, "normalize_nodes": True, "operations": PRIMITIVES[1:6]},
    "DARTS_V2": {"genes": DARTS_V2.normal[:4]},
    "DARTS_V1 reduction": {"genes": DARTS_V1.reduce[:4], "reduction": True},
    "some outputs": {"nodes": 3, "concat": (2, 4), "operations": ["dil_conv_3x3", "max_pool_3x3"]},
}
WHOLE = {
    "whole DARTS_V2": {"genes": DARTS_V2.normal},
    "whole DARTS_V1 reduction": {"genes": DARTS_V1.reduce, "reduction": True},
}


def fused_and_reference(kind):
    """A cell with weights of any kind, the reference with the same weights, and inputs."""
    keras.utils.set_random_seed(0)
    cell = DartsCell(4, **(CELLS | WHOLE)[kind])
    inputs = [images(16 if cell.after_reduction else 8, 6), images(8, 5)]
    if cell.weighted:
        edges = sum(2 + i for i in range(cell.nodes))
        inputs.append(RNG.dirichlet(np.ones(len(cell.operations)), size=edges).astype("float32"))
    cell(inputs)
    shaken(cell)
    reference = UnfusedCell(cell)
    reference(inputs)
    reference.take_weights()
    return cell, reference, inputs


@pytest.fixture(scope="module")
def cells(eager_module):
    """The same by their kind, each made once in this module."""
    return cache(fused_and_reference)


@pytest.mark.parametrize("kind", [*CELLS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in WHOLE)])
def test_a_fused_cell_equals_one_of_a_layer_for_each_operation(kind, cells):
    cell, reference, inputs = cells(kind)
    for training in (False, True):
        expected = numbers(reference(inputs, training=training))
        np.testing.assert_allclose(numbers(cell(inputs, training=training)), expected, rtol=1e-4, atol=1e-5)
        assert expected.shape == cell.compute_output_shape([x.shape for x in inputs])
    own = sum(int(np.prod(w.shape)) for w in cell.trainable_weights)
    assert own == sum(int(np.prod(w.shape)) for w in reference.trainable_weights)


def test_gradients_of_the_weights_of_operations_are_those_of_the_reference(cells):
    *both, (*x, _) = cells("supernet")
    alpha = ArchitectureWeights(2)
    alpha(x[0])
    alpha.alpha.assign(RNG.standard_normal(alpha.alpha.shape))
    target, found = images(8, 8), []
    for cell in both:
        loss = lambda cell=cell: (keras.ops.mean((cell([*x, alpha(x[0])], training=True) - target) ** 2), 0)  # noqa: E731
        found.append(numbers(current().differentiate(loss, [alpha.alpha])[2][0]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-6)
    assert np.abs(found[0]).max() > 1e-4


@pytest.mark.usefixtures("compiled")  # there are many steps
def test_statistics_are_remembered_as_the_reference_does():
    keras.utils.set_random_seed(0)
    cell = DartsCell(4, genes=DARTS_V2.normal[:4])
    data = [10 * images(8, 4) + 3, images(8, 4)]
    inputs = [keras.Input((8, 8, 4)) for _ in data]
    model = keras.Model(inputs, cell(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")  # moves statistics only
    for _ in range(80):
        model.train_on_batch(data, np.zeros((4, 8, 8, 8)))
    assert np.abs(numbers(cell(data)) - numbers(cell(data, training=True))).mean() < 0.02


def test_old_operations_of_seven_by_seven_work_too():
    cell = DartsCell(4, genes=[*NASNET.reduce[:4], ("conv_7x1_1x7", 0), ("none", 1)], reduction=True)
    assert cell([images(16, 3), images(16, 3)]).shape == (4, 8, 8, 12)
    assert "none" in OPERATIONS
    assert DartsCell(4, genes=[("none", 0), ("none", 1)], reduction=True)([images(8, 3)] * 2).shape == (4, 4, 4, 4)


@pytest.mark.parametrize("strides", [1, 2])
def test_each_path_convolves_by_one_times_seven_and_seven_times_one_with_kernels_of_its_own(strides):
    x, kernels = images(8, 3), RNG.standard_normal((2, 2, 7, 3, 3)).astype("float32")
    expected = []
    for first, second in kernels:
        y = np.pad(x, ((0, 0), (0, 0), (3, 3), (0, 0)))
        y = sum(y[:, :, k : k + 8 : strides] @ first[k] for k in range(7))
        y = np.pad(y, ((0, 0), (3, 3), (0, 0), (0, 0)))
        expected.append(sum(y[:, k : k + 8 : strides] @ second[k] for k in range(7)))
    found = numbers(asymmetric(x, kernels, strides))
    np.testing.assert_allclose(found, np.concatenate(expected, axis=-1), rtol=1e-4, atol=1e-4)


def test_kernels_begin_uniform_within_one_over_the_root_of_what_enters_a_unit():
    keras.utils.set_random_seed(0)
    operations = ["skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "conv_7x1_1x7"]
    cell = DartsCell(16, reduction=True, nodes=2, operations=operations)
    cell.build([(None, 8, 8, 30), (None, 8, 8, 50), (5, 5)])
    entering = {"preprocess_0": 30, "preprocess_1": 50, "skip_connect_pointwise": 16, "conv_7x1_1x7_kernel": 7 * 16}
    for name in operations[1:4]:
        entering |= {f"{name}_depthwise": int(name[-1]) ** 2, f"{name}_pointwise": 16}
    assert {variable.name for variable in cell.trainable_variables} == set(entering)
    for name, count in entering.items():
        kernel = numbers(getattr(cell, name)) * np.sqrt(count)
        assert 0.97 < kernel.max() <= 1 + 1e-6
        assert 0.97 < -kernel.min() <= 1 + 1e-6


def test_statistics_remember_a_tenth_of_each_batch():
    keras.utils.set_random_seed(0)
    cell = DartsCell(4, genes=[("max_pool_3x3", 0), ("skip_connect", 1)])
    mean, variance = np.zeros((2, 4)), np.ones((2, 4))
    for scale in (1, 3):
        x = [scale * images(8, 3), scale * images(8, 5) + 1]
        cell(x, training=True)
        sums = [
            np.maximum(part, 0) @ numbers(k)[0]
            for part, k in zip(x, (cell.preprocess_0, cell.preprocess_1), strict=False)
        ]
        mean = 0.9 * mean + 0.1 * np.array([part.mean((0, 1, 2)) for part in sums])
        variance = 0.9 * variance + 0.1 * np.array([part.var((0, 1, 2), ddof=1) for part in sums])
    rows = [cell.wiring.rows["preprocess", i] for i in (0, 1)]
    np.testing.assert_allclose(numbers(cell.moving_mean)[rows], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(numbers(cell.moving_variance)[rows], variance, rtol=1e-4)


def test_statistics_are_not_rounded_by_mixed_precision():
    keras.utils.set_random_seed(0)
    cell = DartsCell(4, genes=[("sep_conv_3x3", 0), ("sep_conv_3x3", 1)], dtype="mixed_bfloat16")
    cell([images(8, 4), images(8, 4)], training=True)
    statistics = numbers(cell.moving_variance)
    rounded = numbers(keras.ops.cast(keras.ops.cast(statistics, "bfloat16"), "float32"))
    assert (statistics != rounded).mean() > 0.5
    assert not any(variable.path.endswith(("mean", "variance")) for variable in cell.trainable_variables)


def test_paths_are_dropped_in_training_by_sample_and_identities_never():
    keras.utils.set_random_seed(0)
    genes = [("skip_connect", 0), ("sep_conv_3x3", 1)]
    cell, whole = (DartsCell(4, genes=genes, drop_path=drop) for drop in (True, False))
    x = [np.tile(images(8, 4), (10, 1, 1, 1)) for _ in range(2)]  # four images, ten times each
    cell(x), whole(x)
    for name in ("preprocess_0", "preprocess_1", "sep_conv_3x3_depthwise", "sep_conv_3x3_pointwise"):
        getattr(whole, name).assign(getattr(cell, name))
    np.testing.assert_array_equal(numbers(cell(x, training=True)), numbers(whole(x, training=True)))  # rate 0
    cell.drop_rate.assign(0.5)
    expected = numbers(whole(x, training=True))[:4]
    found = np.concatenate([numbers(cell(x, training=True)) for _ in range(20)]).reshape(200, *expected.shape)
    assert not np.allclose(found[0], found[1])
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=0.6)
    dropped = [np.abs(found[i, j] - found[0, j]).max() < 1e-6 for i in range(1, 200) for j in range(4)]
    assert 0.35 < np.mean(dropped) < 0.65  # two states: with and without the convolution


def model_of(**options):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    operations = ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"]
    weights = ArchitectureWeights(1, operations)(inputs)
    return keras.Model(inputs, DartsCell(4, nodes=1, operations=operations, **options)([inputs, inputs, weights]))


def test_cells_are_saved_and_trained_in_mixed_precision(tmp_path):
    for policy in ("float32", "mixed_bfloat16"):
        model = model_of(dtype=policy)
        model.compile("sgd", "mse")
        x = images(8, 3)
        model.train_on_batch(x, images(8, 4))
        model.save(tmp_path / "m.keras")
        loaded = keras.models.load_model(tmp_path / "m.keras")
        found = numbers(loaded(x))
        np.testing.assert_array_equal(found, numbers(model(x)))
        assert np.isfinite(found.astype("float32")).all()


EXPORTED = {
    "one node": {"genes": [("sep_conv_3x3", 0), ("skip_connect", 1)]},
    "two nodes": {"genes": [("avg_pool_3x3", 0), ("skip_connect", 1), ("sep_conv_5x5", 2), ("none", 0)]},
    "old": {
        "genes": [("conv_7x1_1x7", 0), ("max_pool_3x3", 1), ("conv_7x1_1x7", 2), ("dil_conv_5x5", 0)],
        "reduction": True,
    },
    "behind a reduction": {"genes": [("dil_conv_3x3", 0), ("dil_conv_3x3", 1)], "after_reduction": True},
}


@pytest.mark.parametrize("kind", EXPORTED)
def test_exported_cells_compute_the_same(kind):
    keras.utils.set_random_seed(0)
    cell = DartsCell(4, **EXPORTED[kind])
    data = [images(16 if cell.after_reduction else 8, 6), images(8, 5)]
    inputs = [keras.Input(x.shape[1:]) for x in data]
    model = StructuralModel(inputs, cell(inputs))
    for variable in cell.weights:
        variable.assign(numbers(variable) + RNG.uniform(0, 0.3, variable.shape))
    plain = model.to_plain()
    assert not any(isinstance(layer, DartsCell) for layer in plain.layers)
    np.testing.assert_allclose(numbers(plain(data)), numbers(model(data)), rtol=1e-4, atol=1e-5)


def test_cells_of_every_state_come_back_from_their_configuration():
    left = {"paths": [["skip_connect", 0, 2], ["sep_conv_3x3", 1, 2]], "weighted": True}
    for options in (CELLS["supernet"], CELLS["DARTS_V2"], {"nodes": 1, **left}):
        cell = DartsCell(4, **options)
        again = DartsCell.from_config(cell.get_config())
        assert again.get_config() == cell.get_config()
        assert (again.paths, again.weighted, again.affine) == (cell.paths, cell.weighted, cell.affine)


def test_what_was_saved_of_a_chosen_cell_is_read():
    saved = {"name": "cell", "trainable": True, "dtype": "float32", "channels": 4, "reduction": False}
    saved |= {"after_reduction": False, "concat": [2], "nodes": 1, "operations": ["max_pool_3x3", "sep_conv_3x3"]}
    saved |= {"affine": False, "normalize_pools": True, "normalize_nodes": False, "drop_path": False}
    saved |= {"paths": [["max_pool_3x3", 0, 2], ["sep_conv_3x3", 1, 2]], "weighted": False}
    cell = DartsCell.from_config(saved)
    assert {name: cell.get_config()[name] for name in saved if name != "dtype"} == {
        name: value for name, value in saved.items() if name != "dtype"
    }
    assert cell([images(8, 4), images(8, 4)]).shape == (4, 8, 8, 4)


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({"channels": 3, "reduction": True}, 8, "odd channels=3"),
        ({"channels": 4, "reduction": True}, 7, "halves images of 7 x 7: expected even numbers"),
        ({"channels": 4, "operations": ["conv"]}, 8, "Expected some of the operations"),
        ({"channels": 4, "operations": ["none"]}, 8, "Expected some of the operations"),
        ({"channels": 4, "concat": (9,)}, 8, "cannot output"),
        ({"channels": 4, "nodes": 0}, 8, "`nodes` must be a positive integer"),
        ({"channels": 4, "paths": [["skip_connect", 5, 3]]}, 8, "a path leads from a state before"),
    ],
)
def test_cells_that_cannot_be_are_refused(options, shape, expected):
    with pytest.raises(ValueError, match=expected):
        DartsCell(**options).build([(None, shape, shape, 3), (None, shape, shape, 3), (14, 8)])


# Weights of operations


def test_weights_are_softmax_clipped_or_drawn():
    soft, clipped, drawn = (ArchitectureWeights(5, activation=kind) for kind in ("softmax", "crb", "gumbel"))
    x = np.zeros(1)
    for layer in (soft, clipped, drawn):
        layer(x)
        assert not layer.trainable_weights
    alpha = np.tile(RNG.standard_normal((5, 8)).astype("float32"), (4, 1))  # five edges, four times each
    for layer in (soft, clipped, drawn):
        layer.alpha.assign(alpha)
    expected = np.exp(alpha) / np.exp(alpha).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(numbers(soft(x, training=True)), expected, rtol=1e-5)
    np.testing.assert_allclose(numbers(clipped(x)), np.clip(alpha, 0, 1))
    np.testing.assert_allclose(numbers(drawn(x)), expected, rtol=1e-5)
    draws = np.concatenate([numbers(drawn(x, training=True)) for _ in range(150)]).reshape(600, 5, 8)
    np.testing.assert_allclose(draws.sum(axis=2), 1, atol=1e-5)
    shares = np.stack([(draws.argmax(axis=2) == k).mean(axis=0) for k in range(8)], axis=1)
    np.testing.assert_allclose(shares, expected[:5], atol=0.1)
    assert ArchitectureWeights.from_config(drawn.get_config()).activation == "gumbel"


@pytest.mark.parametrize(("activation", "mean", "deviation"), [("softmax", 0, 1e-3), ("crb", 1 / 8, 1e-4)])
def test_weights_begin_almost_undecided(activation, mean, deviation):
    keras.utils.set_random_seed(0)
    layer = ArchitectureWeights(8, activation=activation)
    layer(np.zeros(1))
    alpha = numbers(layer.alpha)
    assert alpha.mean() == pytest.approx(mean, abs=deviation / 5)
    assert alpha.std() == pytest.approx(deviation, rel=0.1)
    np.testing.assert_allclose(layer.values(), 1 / 8, atol=6 * deviation)


def test_what_was_pruned_is_not_chosen_even_where_nothing_else_has_weight():
    layer = ArchitectureWeights(1, ["max_pool_3x3", "skip_connect", "sep_conv_3x3"], "crb")
    layer(np.zeros(1))
    layer.alpha.assign([[0.5, 0, 0], [0.5, 0, 0]])
    layer.mask.assign([[0, 1, 1], [0, 0, 1]])
    assert layer.genes() == (("skip_connect", 0), ("sep_conv_3x3", 1))


@pytest.mark.parametrize("activation", ["softmax", "crb"])
def test_projections_in_the_graph_are_those_of_arrays(activation):
    from keras_struct.search import genes_of, projection

    layer = ArchitectureWeights(4, PRIMITIVES[1:] if activation == "crb" else PRIMITIVES, activation)
    layer(np.zeros(1))
    for _ in range(10):
        layer.alpha.assign(RNG.standard_normal(layer.alpha.shape) * 0.5 + 0.3)
        weights = numbers(layer.activated())
        np.testing.assert_array_equal(numbers(layer.projected(weights)), projection(weights, layer.operations))
        assert layer.genes() == genes_of(weights, layer.operations)


def test_pruning_is_for_ever_and_spares_what_the_discrete_cell_needs():
    layer = ArchitectureWeights(4, PRIMITIVES[1:], "crb")
    layer(np.zeros(1))
    alpha = RNG.standard_normal(layer.alpha.shape).astype("float32")
    layer.alpha.assign(alpha)
    genes = layer.genes()
    layer.prune()
    np.testing.assert_array_equal(numbers(layer.mask), (alpha > 0) | (numbers(layer.projected(alpha)) > 0))
    assert layer.genes() == genes
    layer.alpha.assign(np.abs(alpha))
    layer.prune()
    assert (numbers(layer.activated())[alpha <= 0] == 0).mean() > 0.9
    layer.alpha.assign(-np.abs(alpha))  # everything would go
    layer.prune()
    assert numbers(layer.mask).sum() == 8
    assert len(layer.genes()) == 8
    assert numbers(layer.alpha).min() >= 0
    with pytest.raises(ValueError, match="prunes with activation 'crb' only"):
        ArchitectureWeights(2).prune()


def test_weights_that_are_no_numbers_mean_no_cell():
    layer = ArchitectureWeights(2)
    layer(np.zeros(1))
    layer.alpha.assign(np.full((5, 8), np.nan))
    with pytest.raises(ValueError, match="the search diverged"):
        layer.genes()
    with pytest.raises(ValueError, match="Expected activation"):
        ArchitectureWeights(2, activation="sigmoid")
    with pytest.raises(ValueError, match="Expected names of operations"):
        ArchitectureWeights(2, ["a", "a"])
