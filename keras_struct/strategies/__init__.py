"""Named recipes from the literature: policies put together."""

from keras_struct.strategies.gradient import Firefly, GradMax, NeST
from keras_struct.strategies.grow import Grow
from keras_struct.strategies.north import NorthPre, NorthRandom, NorthSelect, NorthWeight

__all__ = ["Firefly", "GradMax", "Grow", "NeST", "NorthPre", "NorthRandom", "NorthSelect", "NorthWeight"]
