"""Another name of `keras_struct.measurements.axis` and `fans`."""

from keras_struct.measurements import AxisMeasurement, FanIn, FanOut

__all__ = ["AxisMeasurement", "FanIn", "FanOut"]
