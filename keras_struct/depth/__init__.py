"""Layers, blocks and branches that come and go: edits of the graph of calls."""

from keras_struct.depth.blocks import Block
from keras_struct.depth.constructors import branch, duplicate, insert, insert_block, remove, reorder, replace, stack
from keras_struct.depth.edits import Entry, Graft, Made, Part, PartCall, Start
from keras_struct.depth.identities import NoIdentityError
from keras_struct.depth.measurements import BlockMeasurement
from keras_struct.depth.strategies import BlockCriterion, BlockInfluence
from keras_struct.depth.strategy import Blocks

__all__ = [
    "Block",
    "BlockCriterion",
    "BlockInfluence",
    "BlockMeasurement",
    "Blocks",
    "Entry",
    "Graft",
    "Made",
    "NoIdentityError",
    "Part",
    "PartCall",
    "Start",
    "branch",
    "duplicate",
    "insert",
    "insert_block",
    "remove",
    "reorder",
    "replace",
    "stack",
]
