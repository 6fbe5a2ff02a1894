"""The only code that changes weights, slots and shapes: trace, plan, commit."""

from keras_struct.surgery.commit import commit
from keras_struct.surgery.plan import plan
from keras_struct.surgery.registry import register_unit_rules
from keras_struct.surgery.trace import trace

__all__ = ["commit", "plan", "register_unit_rules", "trace"]
