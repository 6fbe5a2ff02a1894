"""What a user puts into a model."""

from keras_struct.depth.layers import Gate, ParametricActivation
from keras_struct.freenets.compact_free_net import CompactFreeNet
from keras_struct.freenets.free_net import FreeNet
from keras_struct.nas.architecture import ArchitectureWeights
from keras_struct.nas.darts_cell import DartsCell
from keras_struct.nas.darts_rnn import DartsRNN
from keras_struct.nas.darts_rnn_cell import DartsRNNCell
from keras_struct.nas.mixed_op import MixedOp
from keras_struct.nas.word_embedding import WordEmbedding
from keras_struct.sparse.layers import MaskedConv2D, MaskedDense
from keras_struct.symmetry.group_conv import GroupConv2D
from keras_struct.symmetry.group_norm import GroupBatchNormalization
from keras_struct.symmetry.group_pooling import GroupPooling2D
from keras_struct.symmetry.mixed_conv import MixedEquivariantConv
from keras_struct.units.conv import GrowableConv1D, GrowableConv2D, GrowableConv3D
from keras_struct.units.dense import GrowableDense

__all__ = [
    "ArchitectureWeights",
    "CompactFreeNet",
    "DartsCell",
    "DartsRNN",
    "DartsRNNCell",
    "FreeNet",
    "Gate",
    "GroupBatchNormalization",
    "GroupConv2D",
    "GroupPooling2D",
    "GrowableConv1D",
    "GrowableConv2D",
    "GrowableConv3D",
    "GrowableDense",
    "MaskedConv2D",
    "MaskedDense",
    "MixedEquivariantConv",
    "MixedOp",
    "ParametricActivation",
    "WordEmbedding",
]
