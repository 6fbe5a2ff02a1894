"""What a network is made of, as a picture."""

from __future__ import annotations

from typing import Any

from keras_struct.measure.statistics.flops import flops_per_layer
from keras_struct.report.figures import new_figure

MOST = 60
"""How many bars fit into one picture."""


def plot_structure(model: Any) -> Any:
    """Draw the width of every axis and the floating point operations of every layer of a structural model.

    Args:
        model: A `StructuralModel`. Of more than 60 axes or layers the largest are drawn, in the order of the network.

    Returns:
        The Matplotlib figure, which a notebook shows.
    """
    costs = {name: count for name, count in flops_per_layer(model, unknown="zero").items() if count}
    bars = [("units", dict(model.structure.axes)), ("floating point operations", costs)]
    longest = max(min(len(values), MOST) for _, values in bars)
    figure = new_figure(11, max(3.0, 0.2 * longest + 1.0))
    for ax, (label, values) in zip(figure.subplots(1, 2), bars, strict=True):
        least = sorted(values.values())[-MOST] if len(values) > MOST else 0
        shown = [(name, value) for name, value in values.items() if value >= least][:MOST]
        ax.barh([name for name, _ in shown], [value for _, value in shown])
        ax.invert_yaxis()
        ax.tick_params(axis="y", labelsize=7)
        ax.set_xlabel(label if len(shown) == len(values) else f"{label} (the largest {len(shown)} of {len(values)})")
        ax.grid(alpha=0.3, axis="x")
    return figure
