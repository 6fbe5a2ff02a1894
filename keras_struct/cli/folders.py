"""Folders that runs of the command write."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_struct.cli.grow import put_in_place


def write_run(out: Path, model: Any, files: Mapping[str, Any]) -> Path:
    """Write everything beside, then put it in place: a folder that exists is complete.

    Args:
        out: Where a folder for this run is made.
        model: Saved as `model.keras`.
        files: Contents of the other files, by name: text, bytes, or a model that is saved.

    Returns:
        The folder.
    """
    temporary = out / f".{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        model.save(temporary / "model.keras")
        for name, content in files.items():
            if hasattr(content, "save"):
                content.save(temporary / name)
                continue
            (temporary / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return put_in_place(temporary, out / time.strftime("%Y%m%d-%H%M%S"))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
