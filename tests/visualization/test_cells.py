"""Pictures of cells and searches show what they should."""

import shutil
import subprocess

import keras
import numpy as np
import pytest
from matplotlib.text import Annotation

from keras_struct import visualization
from keras_struct.layers import ArchitectureWeights
from keras_struct.search import DARTS_RNN_V2, DARTS_V1, NASNET, SearchRecord


def recorded(epochs=3, scheduled=True):
    keras.utils.set_random_seed(0)
    layer = ArchitectureWeights(3)
    layer(np.zeros(1))
    record = SearchRecord({"alpha_normal": layer}, ("F", "threshold") if scheduled else None)
    for epoch in range(epochs):
        record.add()
        layer.alpha.assign(np.random.default_rng(epoch).standard_normal(layer.alpha.shape))
    for step in range(20):
        record.add_step({"F": 2.0 - step / 20, "threshold": 1.0, "alpha_steps": step // 4})
    return record


@pytest.mark.parametrize("cell", ["normal", "reduce"])
def test_a_cell_in_the_dot_language_has_every_edge(cell):
    text = visualization.cell_dot(DARTS_V1, cell)
    solid = [line for line in text.splitlines() if "->" in line and "dashed" not in line]
    assert len(solid) == 8
    assert text.count("dashed") == 4
    assert '"c_{k-2}" -> "0" [label="' in text
    assert '"3" -> "c_{k}"' in text


def test_recurrent_cells_put_out_the_nodes_that_they_say():
    text = visualization.cell_dot(DARTS_RNN_V2, "recurrent")
    assert '"0" -> "1" [label="sigmoid"' in text
    assert text.count("dashed") == 8
    assert '"8" -> "h_{t}"' in text
    assert '"0" -> "h_{t}"' not in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_understands_it():
    subprocess.run(["dot", "-Tsvg"], input=visualization.cell_dot(NASNET).encode(), check=True, capture_output=True)


@pytest.mark.parametrize("genotype", [DARTS_V1, NASNET, DARTS_RNN_V2])
def test_drawings_have_a_panel_for_each_cell_and_a_label_for_each_gene(genotype, tmp_path):
    figure = visualization.plot_genotype(genotype)
    texts = [text.get_text() for panel in figure.axes for text in panel.texts]
    genes = genotype.recurrent if hasattr(genotype, "recurrent") else (*genotype.normal, *genotype.reduce)
    labels = [text for text in texts if text and not text.startswith("$")]
    assert len(labels) == len(genes)
    written = visualization.save_genotype(genotype, tmp_path)
    assert all(path.stat().st_size > 100 for path in written)
    assert {path.suffix for path in written} == {".dot", ".png"}


def arcs_of(panel):
    """Each arrow of a drawing with a hundred points of its arc."""
    found, t = [], np.linspace(0, 1, 101)[:, None]
    for arrow in (text for text in panel.texts if isinstance(text, Annotation)):
        start, end = np.array(arrow.xyann), np.array(arrow.xy)
        bend = float(arrow.arrowprops["connectionstyle"].partition("rad=")[2])
        control = (start + end) / 2 + bend * np.array([end[1] - start[1], start[0] - end[0]])
        found.append((arrow, (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end))
    return found


@pytest.mark.parametrize("genotype", [DARTS_V1, NASNET, DARTS_RNN_V2], ids=["DARTS", "NASNet", "recurrent"])
def test_arrows_lead_from_state_to_state_past_the_others_with_their_labels_on_them(genotype):
    cells = ["recurrent"] if genotype is DARTS_RNN_V2 else ["normal", "reduce"]
    for cell, panel in zip(cells, visualization.plot_genotype(genotype).axes, strict=True):
        texts = [text for text in panel.texts if text.get_text()]
        places = {t.get_text().strip("$"): np.array(t.get_position()) for t in texts if t.get_text()[0] == "$"}
        *others, output = places.values()
        assert output[1] == 0
        assert output[0] > max(place[0] for place in others)
        arcs = arcs_of(panel)
        named = {tuple(place): name for name, place in places.items()}
        lines = [line.split('"') for line in visualization.cell_dot(genotype, cell).splitlines() if "->" in line]
        ends = [(named[tuple(arrow.xyann)], named[tuple(arrow.xy)]) for arrow, _ in arcs]
        assert ends == [(line[1], line[3]) for line in lines]
        assert [a.arrowprops["linestyle"] == "--" for a, _ in arcs] == ["dashed" in line[-1] for line in lines]
        left, right, bottom, top = *panel.get_xlim(), *panel.get_ylim()
        shown = [*places.values(), *(point for _, points in arcs for point in points)]
        assert all(left < x < right and bottom < y < top for x, y in shown)
        for (first, second), (_, points) in zip(ends, arcs, strict=True):
            others = [place for name, place in places.items() if name not in (first, second)]
            assert min(np.linalg.norm(points - place, axis=1).min() for place in others) > 0.25
        for i, (_, points) in enumerate(arcs):
            assert all(np.abs(points - other).max() > 0.1 for _, other in arcs[:i]), "no two arrows on one another"
        labels = [text for text in texts if text.get_text()[0] != "$"]
        labelled = [arc for arc, line in zip(arcs, lines, strict=True) if len(line) > 5 and line[5]]
        for text, (arrow, points) in zip(labels, labelled, strict=True):
            assert text.get_color() == arrow.arrowprops["color"]
            assert np.linalg.norm(points - np.array(text.get_position()), axis=1).min() < 0.01


def test_weights_have_a_panel_for_each_edge_and_a_curve_for_each_operation():
    record = recorded()
    figure = visualization.plot_operations(record)
    shown = [panel for panel in figure.axes if panel.axison]
    assert len(shown) == 9
    assert all(len(panel.lines) == 8 for panel in shown)
    without = visualization.plot_operations(record, none=False)
    assert all(len(panel.lines) == 7 for panel in without.axes if panel.axison)
    np.testing.assert_allclose(shown[0].lines[3].get_ydata(), [w["alpha_normal"][0, 3] for w in record.weights])


def test_schedules_mark_where_the_architecture_moved():
    record = recorded()
    (panel,) = visualization.plot_schedule(record).axes
    assert panel.lines[2].get_xdata().tolist() == [5, 9, 13, 17]
    assert visualization.plot_schedule(record, panel) is panel.figure
    assert len(panel.lines) == 6
    assert panel.figure._repr_png_().startswith(b"\x89PNG")
    assert len(visualization.plot_collapse({"a": record, "b": record}).axes[0].lines) == 2


def test_panels_say_which_edge_they_show():
    titles = [panel.get_title() for panel in visualization.plot_operations(recorded()).axes]
    states = ["$c_{k-2}$", "$c_{k-1}$", "0", "1"]
    assert titles == [f"{states[s]} → {node}" if s < 2 + node else "" for node in range(3) for s in range(4)]
    layer = ArchitectureWeights(2, ["tanh", "relu"], inputs=1, kept=1)
    layer(np.zeros(1))
    record = SearchRecord({"alpha_recurrent": layer}, None)
    record.add()
    figure = visualization.plot_operations(record, "alpha_recurrent")
    assert [panel.get_title() for panel in figure.axes] == ["0 → 1", "", "0 → 2", "1 → 2"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["tanh", "relu"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("epoch", "weight")


def test_curves_hold_what_was_recorded():
    record = recorded()
    (panel,) = visualization.plot_schedule(record).axes
    for line, name in zip(panel.lines, ("F", "threshold"), strict=False):
        assert line.get_xdata().tolist() == list(range(1, 21))
        assert line.get_ydata().tolist() == record.schedule[name]
    assert set(panel.lines[2].get_ydata()) == {1.0}
    assert panel.get_yscale() == "log"
    left, right = visualization.plot_collapse(record).axes
    assert left.lines[0].get_ydata().tolist() == record.skips
    assert right.lines[0].get_ydata().tolist() == record.entropy
    assert left.get_ylim()[0] < 0 == right.get_ylim()[0]
    assert left.get_ylabel() == "skip connections among 6 genes"
    assert left.get_legend() is None
    named = visualization.plot_collapse({"a": record, "b": record}).axes[0]
    assert [text.get_text() for text in named.get_legend().texts] == ["a", "b"]


def test_there_must_be_something_to_plot():
    with pytest.raises(ValueError, match="run the search first"):
        visualization.plot_operations(recorded(0))
    with pytest.raises(ValueError, match="no weights of layer 'x'"):
        visualization.plot_operations(recorded(), "x")
    with pytest.raises(ValueError, match="run a search with FimtSchedule"):
        visualization.plot_schedule(recorded(scheduled=False))
    with pytest.raises(ValueError, match="nothing to plot"):
        visualization.plot_collapse(recorded(0))


def test_a_record_forgets_what_came_after_an_epoch():
    record = recorded(4)
    record.validation = [3.0, 2.0, 1.0]
    whole = dict(vars(record))
    record.cut(2, 5)
    for name, left in (("weights", 3), ("genes", 3), ("entropy", 3), ("skips", 3), ("architecture_steps", 10)):
        assert getattr(record, name) == whole[name][:left]
        assert len(getattr(record, name)) == left
    assert record.validation == [3.0, 2.0]
    assert record.schedule == {name: values[:10] for name, values in whole["schedule"].items()}


def test_a_record_is_read_back():
    record = recorded()
    again = SearchRecord(record.layers, ("F", "threshold"))
    again.read_json(record.to_json())
    assert again.genes == record.genes
    assert again.schedule == record.schedule
    np.testing.assert_array_equal(again.weights[1]["alpha_normal"], record.weights[1]["alpha_normal"])
