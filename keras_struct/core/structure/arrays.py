"""Types of arrays, of any shape."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.floating]]
"""Numbers, in single or double precision."""
Ints: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.integer]]
"""Whole numbers, such as indices of units."""
Bools: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
"""Where something is, such as connections."""
