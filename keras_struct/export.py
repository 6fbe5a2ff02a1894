"""To stock Keras layers with static shapes, and to files without zeros."""

from keras_struct import features as _features  # noqa: F401  (they know the stock forms of their layers)
from keras_struct.core.export.plain import to_plain
from keras_struct.freenets.export import to_compact
from keras_struct.sparse.files import load_compact, save_compact

__all__ = ["load_compact", "save_compact", "to_compact", "to_plain"]
