"""When."""

from keras_struct.policies.schedules import AmountSchedule, Batched, EveryNSteps, Linear, Schedule
from keras_struct.sparse.schedules import Cubic, Once, SparsitySchedule

__all__ = ["AmountSchedule", "Batched", "Cubic", "EveryNSteps", "Linear", "Once", "Schedule", "SparsitySchedule"]
