"""Networks that change their own structure while `model.fit` runs."""

import importlib
from typing import Any

from keras_struct import registration

__version__ = "0.1.0"

_PUBLIC = {
    "StructuralModel": "models",
    "Budget": "models",
    "transfer": "models",
    "sparsify": "models",
    "to_equivariant": "models",
    "Resize": "structure",
    "Rewire": "structure",
    "Reconfigure": "structure",
    "Graft": "depth",
    "TensorRef": "structure",
    "insert": "depth",
    "insert_block": "depth",
    "branch": "depth",
    "remove": "depth",
    "duplicate": "depth",
    "stack": "depth",
    "reorder": "depth",
    "replace": "depth",
    "grow": "structure",
    "prune": "structure",
    "split": "structure",
    "remap": "structure",
    "NEW": "structure",
    "AxisRule": "structure",
    "Layout": "structure",
    "register_unit_rules": "core.surgery",
    "register_edit": "core.surgery",
    "EditKind": "core.surgery",
    "StructuralTraining": "callbacks",
    "StructureBackup": "callbacks",
    "StructureTensorBoard": "callbacks",
    "AutoRGN": "callbacks",
    "WeightRewinding": "callbacks",
}
_MODULES = {
    "activations",
    "applications",
    "callbacks",
    "datasets",
    "depth",
    "export",
    "initializers",
    "layers",
    "measurements",
    "models",
    "schedules",
    "selectors",
    "search",
    "statistics",
    "strategies",
    "structure",
    "symmetry",
    "testing",
    "triggers",
    "tuners",
    "visualization",
}

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import keras_struct` stays light."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"keras_struct.{_PUBLIC[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"keras_struct.{name}")
    raise AttributeError(f"module 'keras_struct' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__


registration.register()
