"""Which units go."""

from keras_struct.selectors.norm import Selector, SmallestNorm

__all__ = ["Selector", "SmallestNorm"]
