"""Pictures of networks without layers."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_struct import StructuralModel
from keras_struct.callbacks import StructuralTraining
from keras_struct.core.model.parts import StructuralParts
from keras_struct.export import to_compact
from keras_struct.layers import FreeNet
from keras_struct.strategies import Synaptogenesis
from keras_struct.visualization import (
    plot_adjacency,
    plot_coactivation,
    plot_comparison,
    plot_edges,
    plot_graph,
    png,
)

EDGES = np.tril(np.random.default_rng(0).random((9, 9)) < 0.5, -1)


def network():
    x = keras.Input((3,))
    return StructuralModel(x, keras.layers.Dense(1)(FreeNet(9, adjacency=EDGES, name="free")(x)))


def test_the_adjacency_matrix_is_drawn_as_it_is():
    model = network()
    for shown in (model, model.get_layer("free"), to_compact(model)):
        axes = plot_adjacency(shown).axes[0]
        np.testing.assert_array_equal(axes.images[0].get_array(), EDGES)
        assert axes.get_title() == f"{EDGES.sum()} edges, depth {model.get_layer('free').depth}"


def test_every_edge_is_a_line_whose_color_says_its_weight():
    model = network()
    kernel = np.zeros((9, 9))
    later, earlier = np.nonzero(EDGES)
    kernel[later, earlier] = np.linspace(-1, 1, len(later))
    model.get_layer("free").kernel.assign(kernel)
    for shown in (model, to_compact(model)):
        figure = plot_graph(shown)
        (lines,) = figure.axes[0].collections[:1]
        assert len(lines.get_segments()) == EDGES.sum()
        places = figure.axes[0].collections[1].get_offsets()
        strongest = {
            tuple(np.round(lines.get_segments()[-1].ravel(), 6)),
            tuple(np.round(lines.get_segments()[-2].ravel(), 6)),
        }
        ends = {tuple(np.round(np.concatenate([places[earlier[i]], places[later[i]]]), 6)) for i in (0, -1)}
        assert strongest == ends
        red, blue = (color for color in sorted(map(tuple, lines.get_colors()[-2:]), reverse=True))
        assert red[0] > red[2]
        assert blue[2] > blue[0]
    assert png(figure).startswith(b"\x89PNG")


def trained():
    first, last = [0] * 50, [0] * 50
    first[10], last[40] = 30, 30
    shares = {"free": {"first": {"active": first, "silent": last}, "last": {"active": last, "silent": first}}}
    state = {"history": [[5, "free", 1, 4], [5, "other", 2, 2], [9, "free", 0, 3]], "shares": shares}
    return SimpleNamespace(_structural=SimpleNamespace(runner=SimpleNamespace(policy_state=state)))


def test_edges_that_come_and_go_are_counted_by_look():
    def lines(layer=None):
        return {line.get_label(): list(line.get_ydata()) for line in plot_edges(trained(), layer).axes[0].lines}

    assert lines() == {"added": [3, 0], "removed": [6, 3]}
    assert lines("free") == {"added": [1, 0], "removed": [4, 3]}
    history = SimpleNamespace(model=trained())
    callback = StructuralTraining(Synaptogenesis(), probe=np.ones((2, 1)))
    callback.parts = object.__new__(StructuralParts)
    callback.parts.runner = trained()._structural.runner
    assert len(plot_edges(history).axes[0].lines) == len(plot_edges(callback).axes[0].lines) == 2


def test_densities_stand_where_the_shares_are_and_have_area_one():
    figure = plot_coactivation(trained())
    silent, active = figure.axes
    for axes, places in ((silent, (0.81, 0.21)), (active, (0.21, 0.81))):
        for line, place in zip(axes.lines, places, strict=True):
            x, y = line.get_data()
            assert x[np.argmax(y)] == pytest.approx(place, abs=0.006)
            assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)


def test_means_and_deviations_over_sizes():
    figure = plot_comparison({"a": {20: [1.0, 3.0], 10: [1.0]}}, "neurons")
    (line, *_) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [10, 20]
    assert line.get_ydata().tolist() == [1, 2]
    assert figure.axes[0].get_xlabel() == "neurons"


def test_what_cannot_be_drawn_is_refused():
    x = keras.Input((3,))
    with pytest.raises(ValueError, match="which has none"):
        plot_graph(keras.Model(x, keras.layers.Dense(2)(x)))
    two = keras.Model(x, keras.layers.Add()([FreeNet(2, name="a")(x), FreeNet(2, name="b")(x)]))
    with pytest.raises(ValueError, match=r"which has \['a', 'b'\]; say which"):
        plot_adjacency(two)
    assert plot_adjacency(two, "b").axes
    inner = keras.Model(x, FreeNet(2, name="free")(x), name="inner")
    assert plot_adjacency(keras.Model(x, inner(x)), "inner/free").axes
    with pytest.raises(ValueError, match="no edges before it is built"):
        plot_graph(FreeNet(3))
    with pytest.raises(ValueError, match=r"one of the layers \['free'\]"):
        plot_edges(trained(), "typo")
    with pytest.raises(ValueError, match="Train beyond `warmup` steps first"):
        plot_edges(network())
    with pytest.raises(ValueError, match=r"one of the layers \['free'\]"):
        plot_coactivation(trained(), "other")
