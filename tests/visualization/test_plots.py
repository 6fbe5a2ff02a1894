"""Plots are figures without any global state."""

import inspect
from types import SimpleNamespace

import pytest

from keras_struct import visualization
from keras_struct.structure import StructureEvent, StructureLog
from keras_struct.visualization import plot_curves, plot_mixtures, plot_population, plot_widths, png

EVENTS = [
    StructureEvent(3, "a", 2, 4, "asked for", 10, 0.1, 0.0, False, (0, 1, -1, -1)),
    StructureEvent(5, "b", 8, 7, "asked for", 9, 0.1, 0.0, False, tuple(range(7))),
]


def test_each_axis_is_a_line_of_steps_that_ends_at_the_last_step():
    figure = plot_widths(StructureLog(EVENTS), initial={"c": 5})
    lines = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in figure.axes[0].lines}
    assert lines == {"c": ([0, 5], [5, 5]), "a": ([0, 3, 5], [2, 4, 4]), "b": ([0, 5, 5], [8, 7, 7])}


def test_plots_can_go_into_axes_of_ones_own_and_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure = plot_widths(StructureLog())
    assert plot_curves({"net": [0.1, 0.2]}, ax=figure.axes[0]) is figure
    assert plt.get_fignums() == before
    assert png(figure).startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_history_shows_its_own_events_and_a_model_all_of_them():
    editor = SimpleNamespace(log=StructureLog(EVENTS), initial_widths={"a": 2, "b": 8})
    model = SimpleNamespace(_structural=SimpleNamespace(editor=editor, progress=SimpleNamespace(step=9)))
    first = SimpleNamespace(model=model, structure=StructureLog(EVENTS[:1]))
    last = SimpleNamespace(model=model, structure=StructureLog(EVENTS))

    def ends(shown):
        lines = plot_widths(shown).axes[0].lines
        return {line.get_label(): (int(line.get_xdata()[-1]), int(line.get_ydata()[-1])) for line in lines}

    assert ends(first) == {"a": (3, 4), "b": (3, 8)}
    assert ends(last) == ends(model) == {"a": (9, 4), "b": (9, 7)}


def test_what_holds_no_log_is_refused_with_what_would_do():
    with pytest.raises(TypeError, match=r"training.structure_log"):
        plot_widths({"loss": [1.0]})


def test_mixtures_are_a_panel_a_layer_and_a_line_a_group():
    mixtures = [{"conv1": {"C1": 0.5, "D4": 0.5}, "conv2": {"C1": 0.5, "D4": 0.5}}]
    mixtures.append({"conv1": {"C1": 0.2, "D4": 0.8}, "conv2": {"C1": 0.6, "D4": 0.4}})
    figure = plot_mixtures(mixtures)
    assert [panel.get_title() for panel in figure.axes] == ["conv1", "conv2"]
    lines = {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}
    assert lines == {"C1": [0.5, 0.2], "D4": [0.5, 0.8]}
    assert png(figure).startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no mixtures to plot"):
        plot_mixtures([])


def test_populations_show_all_networks_and_the_groups_of_those_that_stayed():
    one = {"groups": ["D4", "C4"], "accuracy": 0.5, "parameters": 10, "selected": True}
    other = {"groups": ["D4", "D4"], "accuracy": 0.4, "parameters": 20, "selected": False}
    figure = plot_population([[one], [one, other]])
    assert len(figure.axes[0].lines) == 3
    assert [text.get_text() for text in figure.axes[1].texts] == ["D4", "C4"]
    with pytest.raises(ValueError, match="no networks to plot"):
        plot_population([])


def test_every_plot_takes_what_it_draws_first_and_axes_last():
    plots = [getattr(visualization, name) for name in visualization.__all__ if name.startswith("plot_")]
    for plot in plots:
        first, *others = inspect.signature(plot).parameters.values()
        assert first.default is inspect.Parameter.empty
        assert "ax" not in [parameter.name for parameter in others[:-1]]
    with_axes = {plot.__name__ for plot in plots if "ax" in inspect.signature(plot).parameters}
    several = {"plot_coactivation", "plot_collapse", "plot_genotype", "plot_mixtures", "plot_operations"}
    several |= {"plot_population", "plot_structure"}
    assert {plot.__name__ for plot in plots} - with_axes == several, "plots with several panels make their own figure"
