"""Small matrices are decomposed by one thread.

The threads of NumPy's BLAS keep spinning for a while after each call, on the processor cores that the next training step
needs: several of them make a small decomposition no faster, and what comes after it slower.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL = 2048
"""Largest number of rows that one thread is enough for."""


def threads_for(rows: int) -> AbstractContextManager[Any]:
    """Within this context NumPy and SciPy use one thread, if a matrix with so many rows is small."""
    return _blas().limit(limits=1) if rows <= SMALL else nullcontext()


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")
