"""The modules of the features that register something with the core when they are imported.

They register kinds of edits, targets of strategies, what is saved with a structure, methods of structural models, growable
layers, and stock forms of layers. A new feature is added here, and nowhere in the core.
"""

# ruff: noqa: F401
from __future__ import annotations

import keras_struct.core.export.method
import keras_struct.depth.grafting
import keras_struct.depth.methods
import keras_struct.depth.targets
import keras_struct.depth.topology
import keras_struct.freenets.export
import keras_struct.nas.aspect
import keras_struct.nas.export
import keras_struct.nas.methods
import keras_struct.sparse.export
import keras_struct.sparse.methods
import keras_struct.sparse.rewiring
import keras_struct.sparse.targets
import keras_struct.symmetry.aspect
import keras_struct.symmetry.export
import keras_struct.symmetry.methods
import keras_struct.symmetry.targets
import keras_struct.units.conversion
import keras_struct.units.export
import keras_struct.units.methods
import keras_struct.units.targets
