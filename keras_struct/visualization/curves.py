"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_struct.visualization.widths import new_axes


def plot_curves(curves: Mapping[str, Sequence[float]], ylabel: str = "accuracy", ax: Any = None) -> Any:
    """Plot one value per epoch for several networks.

    Args:
        curves: For each network its values, one for each epoch.
        ylabel: What the values are.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure, which a notebook shows.
    """
    if ax is None:
        ax = new_axes()
    for name, values in curves.items():
        ax.plot(range(1, len(values) + 1), values, marker="." if len(values) < 30 else None, label=name)
    ax.set_xlabel("epoch")
    ax.set_ylabel(ylabel)
    ax.grid(alpha=0.3)
    if curves:
        ax.legend(frameon=False)
    return ax.figure
