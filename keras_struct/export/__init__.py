"""To stock Keras."""

from keras_struct.export.plain import to_plain

__all__ = ["to_plain"]
