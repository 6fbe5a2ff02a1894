"""The network of a model, kept in line with its layers and with whatever else is connected to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_struct.core.backend import current
from keras_struct.core.model.holders import OtherHolders
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.surgery.catching_up import catch_up, fits
from keras_struct.core.surgery.surroundings import connections, with_surroundings
from keras_struct.core.surgery.trace import Network, trace


class LiveNetwork:
    """The network of a model, which is read again when its layers were changed by others.

    Attributes:
        model: The model.
        read_again: Called after the network was brought in line with edits that were made elsewhere.
        origin: Paths of its layers when it was first read.
        layers_changed: Called after layers got LoRA weights, another activation or the like.

    Args:
        model: A built Functional or Sequential model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.read_again: list[Callable[[], None]] = []
        self.layers_changed: list[Callable[[], None]] = []
        self._read(trace(model))
        self.origin = list(self.as_read.layers)

    def _read(self, network: Network) -> None:
        self.as_read, self._outdated, self._reconfigured, self._reconnected = network, False, False, False
        self.holders, self._whole, self._connections = OtherHolders(self.model, network), network, -1
        current().watch(network.variables())

    @property
    def network(self) -> Network:
        """The model as a graph of units; read again if another structural model has edited layers that it shares.

        Raises:
            ValueError: If the model's own layers do not fit together any more.
        """
        if self._outdated:
            self._catch_up()
        return self.as_read

    @property
    def graph(self) -> StructureGraph:
        """The structure as it is."""
        return self.network.graph

    @property
    def has_new_surroundings(self) -> bool:
        """Whether layers were connected to the model since they were last looked for."""
        return self._connections != connections(self.network)

    def whole(self) -> Network:
        """The network with the layers around it that read its tensors."""
        if self._connections != (count := connections(self.network)):
            self._whole, self._connections = with_surroundings(self.network), count
            self.holders = OtherHolders(self.model, self._whole)
            current().watch(self._whole.variables())
        return self._whole

    def forget_surroundings(self) -> None:
        """Look for the layers around the network again when they are next requested."""
        self._connections = -1

    def follow_layers(self) -> None:
        """Read layers again that the user changed since they were read: LoRA weights, quantisation, another activation."""
        if self.network.follow_layers():
            self.forget_surroundings()
            _tell(self.layers_changed)

    def compare(self) -> None:
        """Read the structure again if variables do not have the shapes that it says."""
        if not fits(self.network):
            self._outdated = True
            self._catch_up()

    def replace(self, network: Network) -> None:
        """Take another network for that of the model: other layers are called."""
        self._read(network)
        _tell(self.read_again)

    def outdate(self, reconfigured: bool = False, reconnected: bool = False) -> None:
        """Note that layers were edited elsewhere, perhaps in what they do or in which of them are called."""
        self._outdated = True
        self._reconfigured, self._reconnected = self._reconfigured or reconfigured, self._reconnected or reconnected

    def _catch_up(self) -> None:
        """Follow edits that were made through another structural model."""
        self._outdated = False
        try:
            network = trace(self.model) if self._reconnected else catch_up(self.as_read, self.model, self._reconfigured)
        except ValueError:
            self._outdated = True
            raise
        self._reconfigured = False
        self.forget_surroundings()
        if network is not self.as_read:
            self._read(network)
        _tell(self.read_again)


def _tell(listeners: list[Callable[[], None]]) -> None:
    for listener in listeners:
        listener()
