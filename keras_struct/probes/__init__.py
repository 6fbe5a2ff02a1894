"""How a running model is measured."""

from keras_struct.probes.buffer import InputBuffer
from keras_struct.probes.measurement import AxisMeasurement, FanIn, FanOut
from keras_struct.probes.probe import StructureProbe

__all__ = ["AxisMeasurement", "FanIn", "FanOut", "InputBuffer", "StructureProbe"]
