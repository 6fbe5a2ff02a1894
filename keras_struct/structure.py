"""The core, as pure data: units, axes, the graph, edits. Imports NumPy only."""

from keras_struct.core.structure.axes import UnitAxis
from keras_struct.core.structure.edits import Resize, Values, grow, prune, split
from keras_struct.core.structure.events import StructureEvent, StructureLog
from keras_struct.core.structure.graph import Call, StructureGraph
from keras_struct.core.structure.reconfiguring import Reconfigure
from keras_struct.core.structure.refusal import AxisRefused
from keras_struct.core.structure.remap import NEW, remap
from keras_struct.core.structure.rules import AxisRule, Layout, Port
from keras_struct.core.structure.targets import EditTarget, Units
from keras_struct.core.structure.tensors import TensorRef
from keras_struct.policies.policy import JSON, Policy, State
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.hebbian import ActiveConnections, Edges
from keras_struct.sparse.strategy import Connections
from keras_struct.symmetry.strategy import Symmetries

__all__ = [
    "JSON",
    "NEW",
    "ActiveConnections",
    "AxisRefused",
    "AxisRule",
    "Call",
    "Connections",
    "Edges",
    "EditTarget",
    "Layout",
    "Policy",
    "Port",
    "Reconfigure",
    "Resize",
    "Rewire",
    "State",
    "StructureEvent",
    "StructureGraph",
    "StructureLog",
    "Symmetries",
    "TensorRef",
    "UnitAxis",
    "Units",
    "Values",
    "grow",
    "prune",
    "remap",
    "split",
]
