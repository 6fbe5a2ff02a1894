"""What plots share: figures that belong to nobody, labels, and pictures."""

from __future__ import annotations

import io
from typing import Any

SIZE = (7.0, 3.5)
"""Width and height of a plot with one panel, in inches."""


def new_figure(width: float, height: float) -> Any:
    """A figure that belongs to nobody: pyplot does not know it, and a notebook shows it as a picture.

    Args:
        width: In inches.
        height: In inches.
    """
    from matplotlib.figure import Figure

    class StandaloneFigure(Figure):
        def _repr_png_(self) -> bytes:
            return png(self)

    return StandaloneFigure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Any, size: tuple[float, float] = SIZE) -> Any:
    """Axes to draw into: those that were given, or those of a new figure.

    Args:
        ax: Matplotlib axes, or `None`.
        size: Width and height of a new figure, in inches.
    """
    return new_figure(*size).add_subplot() if ax is None else ax


def labelled(ax: Any, xlabel: str, ylabel: str, from_zero: bool = False) -> Any:
    """Name axes and curves, and return the figure.

    Args:
        ax: Matplotlib axes that are drawn into.
        xlabel: What lies along the horizontal axis.
        ylabel: What lies along the vertical axis.
        from_zero: Whether the vertical axis starts at 0.
    """
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(alpha=0.3)
    if from_zero:
        ax.set_ylim(bottom=0)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return ax.figure


def png(figure: Any, dpi: int = 110) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
