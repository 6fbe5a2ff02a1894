"""How a running model is measured."""

from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.measurements.fans import FanIn, FanOut
from keras_struct.measure.probes.buffer import InputBuffer
from keras_struct.measure.probes.probe import StructureProbe

__all__ = ["AxisMeasurement", "FanIn", "FanOut", "InputBuffer", "StructureProbe"]
