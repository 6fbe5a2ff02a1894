"""When."""

from keras_struct.schedules.steps import Batched, EveryNSteps, Linear, Schedule

__all__ = ["Batched", "EveryNSteps", "Linear", "Schedule"]
