"""Makes `import keras_struct` enough to load what was saved, without importing Keras or anything that is heavy.

Keras finds a class of a saved model by its registered name, in a dictionary that classes enter when their module is imported.
This module puts objects there that import the class when Keras first asks for it: at once if Keras is imported already, else as
soon as it is.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Any

PACKAGE = "keras_struct"
"""Package of the registered names of the library: `keras_struct>GrowableDense`."""

CLASSES = {
    "ArchitectureWeights": "layers",
    "AuxiliaryModel": "models",
    "CompactFreeNet": "layers",
    "DartsCell": "layers",
    "DartsRNN": "layers",
    "DartsRNNCell": "layers",
    "FreeNet": "layers",
    "Gate": "layers",
    "GroupBatchNormalization": "layers",
    "GroupConv2D": "layers",
    "GroupPooling2D": "layers",
    "GrowableConv1D": "layers",
    "GrowableConv2D": "layers",
    "GrowableConv3D": "layers",
    "GrowableDense": "layers",
    "MaskedConv2D": "layers",
    "MaskedDense": "layers",
    "MixedEquivariantConv": "layers",
    "MixedOp": "layers",
    "ParametricActivation": "layers",
    "StructuralModel": "models",
    "WarmupStableDecay": "depth",
    "WordEmbedding": "layers",
}
"""Module below `keras_struct` of each class that is registered with Keras."""

FUNCTIONS = ("activations",)
"""Modules of registered functions. Keras keeps the function that it finds, so these are imported with Keras; they are light."""

POLICIES = ("strategies", "triggers", "initializers", "selectors", "schedules")
"""Modules of the policies of the library."""


class _Deferred:
    """Stands for a class that is imported when anything is asked of it, such as `from_config`."""

    def __init__(self, name: str, module: str) -> None:
        self._name, self._module = name, module

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or attribute in ("_name", "_module"):  # what copying asks for
            raise AttributeError(attribute)
        return getattr(self._found(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._found()(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{PACKAGE}>{self._name}, imported when it is used>"

    def _found(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)


def import_policies() -> None:
    """Import all policies of the library, so that their names are known."""
    for module in POLICIES:
        importlib.import_module(f"{PACKAGE}.{module}")


def import_features() -> None:
    """Import all features of the library, so that models have their methods and know their edits and targets."""
    importlib.import_module(f"{PACKAGE}.features")


def register() -> None:
    """Let Keras find the classes of the library, now or when it is imported."""
    if "keras" in sys.modules:
        _tell(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


def _tell(keras: Any) -> None:
    """Enter the classes that are not there yet, and import the functions."""
    objects = keras.saving.get_custom_objects()
    for name, module in CLASSES.items():
        objects.setdefault(f"{PACKAGE}>{name}", _Deferred(name, f"{PACKAGE}.{module}"))
    for module in FUNCTIONS:
        importlib.import_module(f"{PACKAGE}.{module}")


class _WhenKerasIsImported(importlib.abc.MetaPathFinder):
    """Finds Keras where it would be found anyway, and registers the classes once it has been executed."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        """Return the specification of the module `keras`, and none of any other."""
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                _tell(module)

            loader.exec_module = exec_module
        return spec
