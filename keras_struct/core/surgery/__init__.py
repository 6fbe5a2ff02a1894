"""The only code that changes weights, slots and shapes: trace, plan, commit."""

from keras_struct.core.surgery.commit import Commit
from keras_struct.core.surgery.edit_kinds import EditKind, register_edit
from keras_struct.core.surgery.plan import plan
from keras_struct.core.surgery.registry import register_unit_rules
from keras_struct.core.surgery.trace import trace

__all__ = ["Commit", "EditKind", "plan", "register_edit", "register_unit_rules", "trace"]
