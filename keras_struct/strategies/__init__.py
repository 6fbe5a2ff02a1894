"""Named recipes from the literature: policies put together."""

from keras_struct.strategies.grow import Grow
from keras_struct.strategies.north import NorthRandom, NorthSelect

__all__ = ["Grow", "NorthRandom", "NorthSelect"]
