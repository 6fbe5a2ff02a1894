"""Why a saved model cannot be rebuilt, in a few lines."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

_LONGEST = 400


def missing_objects(config: Any, custom_objects: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the classes and functions that a saved configuration names and this process does not know.

    Args:
        config: What `get_config` or `keras.saving.serialize_keras_object` returned, or a part of it.
        custom_objects: What else is known, by registered name.

    Returns:
        For each registered name the module to import, as far as the configuration tells.
    """
    found: dict[str, str] = {}
    for name, module in _named(config):
        package = name.rpartition(">")[0]
        if keras.saving.get_registered_object(name, custom_objects) is None:
            found.setdefault(name, module or package)
    return found


def cannot_rebuild(config: Any, error: BaseException, custom_objects: Mapping[str, Any] | None = None) -> str:
    """Say in a few lines why Keras could not rebuild a model.

    Args:
        config: The configuration of the model, or of its layers.
        error: What Keras raised; the first cause in its chain is told, without the configurations that Keras prints.
        custom_objects: As `missing_objects`.
    """
    missing = missing_objects(config, custom_objects)
    if missing:
        return unknown_objects(missing)
    cause = error
    while cause.__context__ is not None:
        cause = cause.__context__
    text = " ".join(str(cause).partition("Full object config")[0].split())
    return f"The saved model cannot be rebuilt: {text[:_LONGEST]}"


def unknown_objects(missing: Mapping[str, str]) -> str:
    """Say what to import, given what `missing_objects` returned."""
    names = ", ".join(f"'{name}'" for name in missing)
    modules = sorted({module for module in missing.values() if module and module not in ("Custom", "__main__")})
    way = f"Import {', '.join(modules)}" if modules else "Import or define what has these names"
    return (
        f"The saved model uses {names}, which is not known here. {way} before you load the model, and decorate classes and "
        "functions of your own with @keras.saving.register_keras_serializable(package=...)."
    )


def _named(config: Any) -> Iterator[tuple[str, str]]:
    """Registered names and modules of everything in a configuration that is not Keras's own."""
    if isinstance(config, Mapping):
        kind, inner, module = config.get("class_name"), config.get("config"), config.get("module") or ""
        if kind == "function" and isinstance(inner, str) and ">" in inner:
            yield inner, "" if module == "builtins" else module
        known = module.partition(".")[0] in ("keras", "builtins") or not isinstance(inner, Mapping)
        if isinstance(kind, str) and not kind.startswith("__") and not known:
            yield config.get("registered_name") or kind, module
        for value in config.values():
            yield from _named(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _named(value)


def saved_config(path: str | Path) -> Any:
    """Return the configuration in a `.keras` file.

    Raises:
        OSError: If the file cannot be read.
        zipfile.BadZipFile: If it is damaged, or another kind of file.
        KeyError: If there is no configuration in it.
        ValueError: If the configuration is no JSON.
    """
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))
