"""Tell Jupyter where the kernel of the tutorials is: one that keeps TensorFlow's log out of the pages."""

import os
from pathlib import Path


def on_startup(**_):
    """Run before anything is built."""
    paths = [str(Path(__file__).parent), os.environ.get("JUPYTER_PATH", "")]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, paths))
