"""What policies see of a running network: typed values, without Keras or a backend. `keras_struct.probes` makes them."""

from keras_struct.core.structure.arrays import Bools, Floats, Ints
from keras_struct.measure.measurements.axis import AxisMeasurement, Normalization, UnitActivity
from keras_struct.measure.measurements.fans import FanIn, FanOut
from keras_struct.measure.measurements.gradients import AxisGradients, BatchGradients, GradientNorms, UnitGradients
from keras_struct.measure.statistics.candidates import Border
from keras_struct.sparse.coactivation import Coactivation
from keras_struct.sparse.measurements import ConnectionMeasurement
from keras_struct.symmetry.measurements import SymmetryMeasurement

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
