"""The heart, as pure data: units, axes, the graph, edits. Imports NumPy only."""

from keras_struct.structure.axes import UnitAxis
from keras_struct.structure.edits import Resize, Values, grow, prune, split
from keras_struct.structure.events import StructureEvent, StructureLog
from keras_struct.structure.graph import Call, StructureGraph
from keras_struct.structure.policy import JSON, Policy, State
from keras_struct.structure.reconfiguring import Reconfigure
from keras_struct.structure.refusal import AxisRefused
from keras_struct.structure.remap import NEW, remap
from keras_struct.structure.rewiring import Rewire
from keras_struct.structure.rules import AxisRule, Layout, Port
from keras_struct.structure.targets import ActiveConnections, Connections, Edges, EditTarget, Symmetries, Units

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
    "UnitAxis",
    "Units",
    "Values",
    "grow",
    "prune",
    "remap",
    "split",
]
