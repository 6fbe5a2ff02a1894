"""Checks of what constructors receive."""

from __future__ import annotations

from typing import Any


def whole_number(name: str, value: Any) -> int:
    """Return a positive whole number.

    Raises:
        ValueError: If it is none.
    """
    if int(value) != value or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
    return int(value)
