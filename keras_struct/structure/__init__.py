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

__all__ = [
    "JSON",
    "NEW",
    "AxisRefused",
    "AxisRule",
    "Call",
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
    "UnitAxis",
    "Values",
    "grow",
    "prune",
    "remap",
    "split",
]
