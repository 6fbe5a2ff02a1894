"""Old names of what was renamed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any


def renamed(module: str, **names: Any) -> Callable[[str], Any]:
    """Return a `__getattr__` for a module that answers to old names, with a DeprecationWarning that says the new one.

    Args:
        module: Name of the module.
        **names: By old name what it is now.

    >>> __getattr__ = renamed("keras_struct.triggers", OldTrigger=dict)
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = names[name]
        warnings.warn(f"{module}.{name} is deprecated: it is {found.__name__} now.", DeprecationWarning, stacklevel=2)
        return found

    return __getattr__
