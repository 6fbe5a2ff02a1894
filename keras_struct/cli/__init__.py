"""The command `keras-struct`."""

from keras_struct.cli.main import main

__all__ = ["main"]
