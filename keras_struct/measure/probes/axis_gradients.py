"""Another name of `keras_struct.measure.measurements.gradients`."""

from keras_struct.measure.measurements.gradients import AxisGradients

__all__ = ["AxisGradients"]
