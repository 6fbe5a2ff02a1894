"""When."""

from keras_struct.schedules.sparsity import Cubic, Once, SparsitySchedule
from keras_struct.schedules.steps import AmountSchedule, Batched, EveryNSteps, Linear, Schedule

__all__ = ["AmountSchedule", "Batched", "Cubic", "EveryNSteps", "Linear", "Once", "Schedule", "SparsitySchedule"]
