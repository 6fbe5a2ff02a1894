"""Where the kernel of the tutorials is, and when they must be executed again."""

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "tutorials"


def on_startup(**_):
    """Tell Jupyter of a kernel that keeps TensorFlow's log out of the pages."""
    paths = [str(Path(__file__).parent), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))


def on_config(config):
    """Keep executed tutorials as long as neither they nor the library have changed; under CI execute them always.

    mkdocs-jupyter knows whether a tutorial has changed. What it keeps goes into a folder of this state of the library.
    """
    options = config["plugins"]["mkdocs-jupyter"].config
    folder = CACHE / state()
    options["cache"] = os.environ.get("CI", "").lower() in ("", "0", "false")
    options["cache_dir"] = str(folder)
    if CACHE.is_dir():
        for old in CACHE.iterdir():
            if old != folder:
                shutil.rmtree(old)
    return config


def state():
    """A name for what the library's code is, and for the versions of what it stands on."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "keras_struct").rglob("*.py")):
        found.update(path.relative_to(ROOT).as_posix().encode())
        found.update(path.read_bytes())
    for package in ("keras", "tensorflow", "keras-tuner", "numpy", "matplotlib"):
        found.update(f"{package} {version(package)}".encode())
    return found.hexdigest()[:16]
