"""Another name of `keras_struct.measurements.gradients`."""

from keras_struct.measurements import AxisGradients

__all__ = ["AxisGradients"]
