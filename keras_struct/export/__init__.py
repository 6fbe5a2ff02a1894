"""To stock Keras layers with static shapes, and to files without zeros."""

from keras_struct.export import cells, growable, masked, symmetric
from keras_struct.export.compact import load_compact, save_compact
from keras_struct.export.free import to_compact
from keras_struct.export.plain import to_plain

FORMS = (cells, growable, masked, symmetric)
"""Modules that register how layers are written in stock layers."""

__all__ = ["load_compact", "save_compact", "to_compact", "to_plain"]
