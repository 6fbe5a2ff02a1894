"""Files that Keras downloads."""

from __future__ import annotations

from pathlib import Path


def fetched(name: str, origin: str, folder: Path | None, file: str | None = None) -> Path:
    """Find a file of a data set: in a folder, downloaded before, or downloaded now.

    Args:
        name: What the data set is called.
        origin: Address of the file.
        folder: Where to look first.
        file: Name of the file; as in `origin` by default.

    Returns:
        The file.

    Raises:
        ConnectionError: If the download fails.
    """
    import keras

    file = origin.rpartition("/")[2] if file is None else file
    if folder is not None and (folder / file).is_file():
        return folder / file
    try:
        return Path(keras.utils.get_file(file, origin))
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise ConnectionError(
            f"Keras could not download '{name}' ({error}). Without a connection, put the file '{file}' into a folder and "
            "pass that folder as `data_dir`."
        ) from error
