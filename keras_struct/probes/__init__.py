"""How a running model is measured."""

from keras_struct.measurements import AxisMeasurement, FanIn, FanOut
from keras_struct.probes.buffer import InputBuffer
from keras_struct.probes.probe import StructureProbe

__all__ = ["AxisMeasurement", "FanIn", "FanOut", "InputBuffer", "StructureProbe"]
