"""Widths over time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from keras_struct.core.model.parts import parts_behind
from keras_struct.core.structure.events import StructureLog
from keras_struct.report.figures import axes_or_new, labelled

DASH = 4
"""Length of a dash, in widths of a line."""


def plot_widths(history: Any, initial: Mapping[str, int] | None = None, ax: Any = None) -> Any:
    """Plot how many units every axis had over the steps of training.

    Where axes have the same width for a while, their lines are dashed in turns, so that none hides another.

    Args:
        history: What `fit` of a `StructuralModel` returned, the model itself, or a `StructureLog`.
        initial: Widths at the start; needed for axes that never changed when a log is given.
        ax: Matplotlib axes to draw into; a new figure by default.

    Returns:
        The Matplotlib figure, which a notebook shows.

    Raises:
        TypeError: If there is no log of structural events in `history`.
    """
    log, start, last = _read(history)
    series = log.widths(dict(initial) if initial is not None else start)
    ax = axes_or_new(ax)
    end = max([last, *(event.step for event in log), 1])
    for (axis, points), style in zip(series.items(), _styles(list(series.values()), end), strict=True):
        steps, widths = zip(*points, strict=True)
        ax.step([*steps, end], [*widths, widths[-1]], where="post", label=axis, linestyle=style)
    return labelled(ax, "training step", "units", from_zero=True)


def _styles(series: list[list[tuple[int, int]]], end: int) -> list[Any]:
    """Dashes that take turns among lines which lie upon each other somewhere; the first of them is solid."""
    pieces = [
        {(width, step, after) for (step, width), (after, _) in pairwise([*points, (end, 0)]) if after > step}
        for points in series
    ]
    turns: list[int] = []
    for i, own in enumerate(pieces):
        taken = {turns[j] for j in range(i) if _overlap(own, pieces[j])}
        turns.append(next(turn for turn in range(i + 1) if turn not in taken))
    period = max(turns, default=0) + 1
    return ["solid" if turn == 0 else (-DASH * turn, (DASH, DASH * (period - 1))) for turn in turns]


def _overlap(first: set[tuple[int, int, int]], second: set[tuple[int, int, int]]) -> bool:
    """Whether there are steps at which both have the same width."""
    return any(w == v and max(a, c) < min(b, d) for w, a, b in first for v, c, d in second)


def _read(history: Any) -> tuple[StructureLog, dict[str, int], int]:
    """Log, widths at the start and last step of whatever holds a log."""
    if isinstance(history, StructureLog):
        return history, {}, 0
    parts = parts_behind(history)
    if parts is None:
        raise TypeError(
            "Cannot plot widths: expected the history that `StructuralModel.fit` returned, a StructuralModel, or its "
            f"structure_log. Received: {type(history).__name__}. For a plain model pass `training.structure_log` of its "
            "StructuralTraining callback."
        )
    editor, log = parts.editor, getattr(history, "structure", None)
    if not isinstance(log, StructureLog):  # a model
        return editor.log, editor.initial_widths, parts.progress.step
    changed_since = len(log) < len(editor.log)
    return log, editor.initial_widths, 0 if changed_since else parts.progress.step
