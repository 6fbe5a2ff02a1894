"""Tutorials are executed when they or the library have changed, and always under CI."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

HOOK = Path(__file__).parents[2] / "docs" / ".hooks" / "tutorials.py"


@pytest.fixture
def hook(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("tutorials_hook", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "keras_struct").mkdir()
    (tmp_path / "keras_struct" / "code.py").write_text("width = 1")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "CACHE", tmp_path / ".cache" / "tutorials")
    monkeypatch.delenv("CI", raising=False)
    return module


def options(hook):
    plugin = SimpleNamespace(config={})
    hook.on_config({"plugins": {"mkdocs-jupyter": plugin}})
    return plugin.config


def test_what_was_executed_is_kept_until_the_library_changes(hook):
    first = options(hook)
    folder = Path(first["cache_dir"])
    folder.mkdir(parents=True)
    assert first["cache"]
    assert options(hook) == first
    assert folder.is_dir()
    (hook.ROOT / "keras_struct" / "code.py").write_text("width = 2")
    changed = options(hook)
    assert changed["cache_dir"] != first["cache_dir"]
    assert not folder.exists()
    (hook.ROOT / "keras_struct" / "code.py").rename(hook.ROOT / "keras_struct" / "other.py")
    assert options(hook)["cache_dir"] != changed["cache_dir"]


def test_under_ci_tutorials_are_always_executed(hook, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert not options(hook)["cache"]
    monkeypatch.setenv("CI", "false")
    assert options(hook)["cache"]
