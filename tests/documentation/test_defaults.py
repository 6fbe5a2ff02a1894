"""The defaults of what the library offers stay: a program that names none does the same with the next version.

What is new is written down with the next release. Then, and after a deliberate change, the list is written again by
`python tests/documentation/test_defaults.py`.
"""

import importlib
import inspect
import json
import re
from pathlib import Path

DEFAULTS = Path(__file__).with_name("defaults.json")
MODULES = (
    *("triggers", "initializers", "schedules", "strategies", "selectors", "layers", "search", "callbacks", "datasets"),
    *("models", "applications", "statistics", "symmetry", "tuners", "visualization", "export"),
)


def defaults_of(kind):
    """The defaults of a class or a function by parameter, without addresses in memory."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:
        return {}
    written = {p.name: re.sub(r" at 0x\w+", "", repr(p.default)) for p in parameters if p.default is not p.empty}
    return {name: default for name, default in written.items() if default != "<factory>"}


def methods_of(kind):
    """Public methods that a class has from this library."""
    found = inspect.getmembers(kind, inspect.isfunction) if inspect.isclass(kind) else []
    return {name: each for name, each in found if name[0] != "_" and each.__module__.startswith("keras_struct.")}


def offered():
    """The defaults of every public class, its methods and every function, by its name in its module."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"keras_struct.{name}")
        for each in module.__all__:
            if callable(getattr(module, each)) and (defaults := defaults_of(getattr(module, each))):
                found[f"{name}.{each}"] = defaults
            for method, function in methods_of(getattr(module, each)).items():
                if defaults := defaults_of(function):
                    found[f"{name}.{each}.{method}"] = defaults
    return found


def test_defaults_stay():
    before, now = json.loads(DEFAULTS.read_text()), offered()
    changed = {name: (before[name], now.get(name)) for name in before if now.get(name) != before[name]}
    assert not changed, f"if this is meant, run: python {Path(__file__).relative_to(Path.cwd())}"


if __name__ == "__main__":
    DEFAULTS.write_text(json.dumps(offered(), indent=1, sort_keys=True) + "\n")
