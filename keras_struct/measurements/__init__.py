"""What policies see of a running network: typed values, without Keras or a backend. `keras_struct.probes` makes them."""

from keras_struct.measurements.axis import AxisMeasurement, Normalization, UnitActivity
from keras_struct.measurements.connections import ConnectionMeasurement
from keras_struct.measurements.fans import FanIn, FanOut
from keras_struct.measurements.gradients import AxisGradients, BatchGradients, GradientNorms, UnitGradients
from keras_struct.measurements.symmetry import SymmetryMeasurement
from keras_struct.statistics.candidates import Border
from keras_struct.statistics.coactivation import Coactivation
from keras_struct.structure.arrays import Bools, Floats, Ints

__all__ = [
    "AxisGradients",
    "AxisMeasurement",
    "BatchGradients",
    "Bools",
    "Border",
    "Coactivation",
    "ConnectionMeasurement",
    "FanIn",
    "FanOut",
    "Floats",
    "GradientNorms",
    "Ints",
    "Normalization",
    "SymmetryMeasurement",
    "UnitActivity",
    "UnitGradients",
]
