"""Variables: the objects of the backend behind them, and their shapes."""

from __future__ import annotations

from typing import Any


def holder(variable: Any) -> Any:
    """The object of the backend in which a variable keeps its value."""
    return variable._value


def put_back(variable: Any, held: Any) -> None:
    """Let a variable keep its value in an object in which it did before."""
    variable._value = held


def shape_of(variable: Any) -> tuple[int, ...]:
    """The present shape of a variable, also while a function is traced."""
    return variable._shape


def set_shape(variable: Any, shape: tuple[int, ...]) -> None:
    """Tell a Keras variable its shape."""
    variable._shape = tuple(map(int, shape))
