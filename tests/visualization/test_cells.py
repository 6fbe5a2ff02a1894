"""Pictures of cells and searches show what they should."""

import shutil
import subprocess

import keras
import numpy as np
import pytest

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
