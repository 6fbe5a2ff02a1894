"""Every layer that the library offers passes the battery: whatever is in `__all__`, without a line here for each."""

import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_struct
from keras_struct import layers
from keras_struct.testing import check_layer

FEATURES = ("units", "depth", "sparse", "symmetry", "nas", "freenets", "pretrained", "search")
HOMES = tuple(f"keras_struct.{feature}." for feature in FEATURES)
MADE = {"CompactFreeNet": lambda: layers.CompactFreeNet(6, np.tril(np.ones((6, 6), bool), -1))}
"""Those that the battery cannot make by itself."""
WITHOUT_UNITS = ("ArchitectureWeights", "CompactFreeNet", "DartsRNN", "Gate", "ParametricActivation", "WordEmbedding")
"""Layers that make no units which could be edited."""
OTHER_INPUTS = (
    *("DartsCell", "DartsRNNCell", "MixedOp", "MixedEquivariantConv"),  # also weights of operations, which have tests
    *("GroupBatchNormalization", "GroupPooling2D"),  # fields of a group convolution, which they pass on
)
"""Layers that take something else than a tensor of units; those below this folder's neighbours test them."""


@pytest.mark.parametrize("name", [name for name in layers.__all__ if name not in WITHOUT_UNITS + OTHER_INPUTS])
def test_every_layer_passes_the_battery(name):
    check_layer(MADE.get(name, lambda: getattr(layers, name))())


@pytest.mark.parametrize("name", WITHOUT_UNITS)
def test_those_without_units_have_none(name):
    with pytest.raises(AssertionError, match="makes no units that can be edited"):
        check_layer(MADE.get(name, lambda: getattr(layers, name))())


@pytest.mark.parametrize("name", OTHER_INPUTS)
def test_those_of_other_inputs_do_not_take_a_tensor(name):
    with pytest.raises((ValueError, TypeError), match=r"can be called on none of|cannot be made with"):
        check_layer(getattr(layers, name))


def test_every_layer_of_the_library_is_offered_and_registered():
    for found in pkgutil.walk_packages(keras_struct.__path__, "keras_struct."):
        if found.name.split(".")[1] in FEATURES:
            importlib.import_module(found.name)
    own = {kind for kind in below(keras.layers.Layer) if kind.__module__.startswith(HOMES)}
    concrete = {kind for kind in own if not kind.__name__.startswith("_") and not issubclass(kind, keras.Model)}
    offered = {getattr(layers, name) for name in layers.__all__}
    missing = {kind for kind in concrete - offered if not kind.__subclasses__()}
    assert not missing, "add them to keras_struct/layers.py, or leave something to their subclasses"
    for kind in offered:
        registered = keras.saving.get_registered_name(kind)
        assert registered == f"keras_struct>{kind.__name__}", (
            f"{kind} lacks register_keras_serializable('keras_struct')"
        )


def below(kind):
    return {kind}.union(*(below(sub) for sub in kind.__subclasses__()))
