"""Callbacks: structural training of plain models, backups, TensorBoard, language models."""

from keras_struct.core.model.backup import StructureBackup
from keras_struct.core.model.early_stopping import StructuralEarlyStopping
from keras_struct.core.model.training import StructuralTraining
from keras_struct.nas.drop_path import DropPathSchedule
from keras_struct.nas.language_callbacks import AveragedWeights, FreshStates, RateByLength
from keras_struct.pretrained.surgical import AutoRGN
from keras_struct.report.tensorboard import StructureTensorBoard
from keras_struct.sparse.rewinding import WeightRewinding

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
