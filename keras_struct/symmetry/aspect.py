"""The symmetries of layers as part of the structure that is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import keras_internals
from keras_struct.core.model.aspects import StructureAspect, register_aspect
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.structure.capabilities import RearrangesChannels, Symmetric
from keras_struct.core.structure.reconfiguring import Reconfigure


class Groups(StructureAspect):
    """Which group each layer is equivariant to."""

    name = "groups"

    def read(self, live: LiveNetwork) -> dict[str, str]:
        """Return the name of the group of each layer whose symmetry can be edited."""
        return {path: layer.group.name for path, layer in live.network.having(Symmetric).items()}

    def edits(self, live: LiveNetwork, wanted: Mapping[str, Any]) -> Iterator[list[Any]]:
        """Give every layer its group; most changes are possible by way of no symmetry."""
        moving = live.network.having(RearrangesChannels)
        for groups in (dict.fromkeys((path for path in wanted if path not in moving), "C1"), wanted):
            now = self.read(live)
            edits = [
                Reconfigure(path, {"group": name})
                for path, name in groups.items()
                if path in now and now[path] != wanted[path]
            ]
            yield [edit for edit in edits if edit.layer not in moving]
            yield from ([edit] for edit in edits if edit.layer in moving)

    def in_weights(self, live: LiveNetwork, arrays: Mapping[int, Any]) -> dict[str, str]:
        """Return the groups that weights belong to, by their numbers of cosets."""
        found = {}
        for path, layer in live.network.having(Symmetric).items():
            cosets = arrays.get(id(keras_internals.own_variables(layer).get("coset")))
            for group in layer.frame.subgroups() if cosets is not None else ():
                if np.array_equal(group.decomposition(layer.frame)[1], keras.ops.convert_to_numpy(cosets)):
                    found[path] = group.name
                    break
        return found


register_aspect(Groups())
