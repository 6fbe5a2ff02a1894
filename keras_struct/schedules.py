"""When."""

from keras_struct.policies.schedules import AmountSchedule, AtSteps, Batched, EveryNSteps, Linear, Schedule
from keras_struct.sparse.schedules import Cubic, Once, SparsitySchedule

__all__ = [
    "AmountSchedule",
    "AtSteps",
    "Batched",
    "Cubic",
    "EveryNSteps",
    "Linear",
    "Once",
    "Schedule",
    "SparsitySchedule",
]
