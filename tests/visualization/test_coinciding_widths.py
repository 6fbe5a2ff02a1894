"""Lines of axes that have the same width are all to be seen."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from keras_struct.core.structure.events import StructureEvent, StructureLog
from keras_struct.visualization import plot_widths


def event(step, axis, before, after):
    return StructureEvent(step, axis, before, after, "r", 1, 0.0, 0.0, False, ())


@pytest.mark.parametrize("count", [2, 3, 6])
def test_no_line_hides_another(count):
    log = StructureLog([event(10, "a", 8, 12), event(20, "b", 8, 12)])
    names = ["a", "b", *"cdef"][:count]
    figure = plot_widths(log, initial=dict.fromkeys(names, 8))
    axes = figure.axes[0]
    axes.get_legend().remove()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    for line in axes.get_lines():
        near = np.abs(pixels - to_rgb(line.get_color())).max(axis=-1) < 0.02
        assert near.sum() > 20, line.get_label()


def test_lines_that_never_meet_are_solid():
    figure = plot_widths(StructureLog(), initial={"a": 4, "b": 8})
    assert [line.get_linestyle() for line in figure.axes[0].get_lines()] == ["-", "-"]
