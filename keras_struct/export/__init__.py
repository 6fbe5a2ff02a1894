"""To stock Keras layers with static shapes, and to files without zeros."""

from keras_struct.export.compact import load_compact, save_compact
from keras_struct.export.plain import to_compact, to_plain

__all__ = ["load_compact", "save_compact", "to_compact", "to_plain"]
