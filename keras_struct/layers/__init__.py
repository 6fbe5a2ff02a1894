"""What a user puts into a model."""

from keras_struct.layers.architecture import ArchitectureWeights
from keras_struct.layers.compact_free_net import CompactFreeNet
from keras_struct.layers.conv import GrowableConv1D, GrowableConv2D, GrowableConv3D
from keras_struct.layers.darts_cell import DartsCell
from keras_struct.layers.darts_rnn import DartsRNN
from keras_struct.layers.darts_rnn_cell import DartsRNNCell
from keras_struct.layers.dense import GrowableDense
from keras_struct.layers.free_net import FreeNet
from keras_struct.layers.group_conv import GroupConv2D
from keras_struct.layers.group_norm import GroupBatchNormalization
from keras_struct.layers.group_pooling import GroupPooling2D
from keras_struct.layers.masked import MaskedConv2D, MaskedDense
from keras_struct.layers.mixed_conv import MixedEquivariantConv
from keras_struct.layers.mixed_op import MixedOp
from keras_struct.layers.word_embedding import WordEmbedding

__all__ = [
    "ArchitectureWeights",
    "CompactFreeNet",
    "DartsCell",
    "DartsRNN",
    "DartsRNNCell",
    "FreeNet",
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
    "WordEmbedding",
]
