"""Callbacks: structural training of plain models, backups, TensorBoard, language models."""

from keras_struct.callbacks.backup import StructureBackup
from keras_struct.callbacks.drop_path import DropPathSchedule
from keras_struct.callbacks.early_stopping import StructuralEarlyStopping
from keras_struct.callbacks.language import AveragedWeights, FreshStates, RateByLength
from keras_struct.callbacks.rewinding import WeightRewinding
from keras_struct.callbacks.surgical import AutoRGN
from keras_struct.callbacks.tensorboard import StructureTensorBoard
from keras_struct.callbacks.training import StructuralTraining

__all__ = [
    "AutoRGN",
    "AveragedWeights",
    "DropPathSchedule",
    "FreshStates",
    "RateByLength",
    "StructuralEarlyStopping",
    "StructuralTraining",
    "StructureBackup",
    "StructureTensorBoard",
    "WeightRewinding",
]
