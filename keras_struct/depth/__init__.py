"""Layers, blocks and branches that come and go: edits of the graph of calls."""

from keras_struct.depth.blocks import Block
from keras_struct.depth.constructors import branch, duplicate, insert, insert_block, remove, reorder, replace, stack
from keras_struct.depth.edits import Entry, Graft, Made, Part, PartCall, Start
from keras_struct.depth.identities import NoIdentityError

__all__ = [
    "Block",
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
