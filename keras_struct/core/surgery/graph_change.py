"""A change of which layers a model calls, and on what: all of it, or nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_struct.core.backend import holders
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.structure.tensors import TensorRef


class GraphChange:
    """A change of the graph of calls of a model and of models inside it, while it is carried out.

    The model, its layers and its tensors stay the objects that they are, so that all who share them see the change: nested
    models, models around it, feature extractors.

    Attributes:
        model: The model.
        copied: For the `id` of a new variable the one whose optimizer state it is to start with.
        added: Layers and operations that are called for the first time.

    Args:
        model: A Functional model, or one that holds one.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.copied: dict[int, Any] = {}
        self.added: list[Any] = []
        self._wiring = internals.WiringChange()
        self._new_calls: list[Any] = []
        self._touched: list[Any] = []
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def network(self, path: str) -> Any:
        """Return the Functional model whose layer has a path.

        Raises:
            ValueError: If there is none, or it is not one whose calls can be edited.
        """
        *outer, name = path.split("/")
        network = _functional(self.model, self.model.name)
        for depth, part in enumerate(outer):
            inner = internals.nested_network(_operation(network, part, path))
            if inner is None:
                raise ValueError(
                    f"Cannot edit the calls inside '{'/'.join(outer[: depth + 1])}': expected a Functional model, whose graph "
                    "Keras knows. What a layer or a subclassed model calls is in its own code; build the model of layers, or "
                    "edit around it."
                )
            network = _functional(inner, part)
        _operation(network, name, path)
        return network

    def inside(self, prefix: str) -> Any:
        """Return the model itself for an empty prefix, or the Functional model inside it whose layers have the prefix.

        Raises:
            ValueError: If there is none.
        """
        if not prefix:
            return _functional(self.model, self.model.name)
        path = prefix.rstrip("/")
        inner = internals.nested_network(self.layer(path))
        if inner is None:
            raise ValueError(f"'{path}' is no Functional model, whose calls could be edited.")
        return _functional(inner, path)

    def layer(self, path: str) -> Any:
        """Return a layer or operation by its path."""
        return _operation(self.network(path), path.rpartition("/")[2], path)

    def tensor(self, ref: TensorRef) -> Any:
        """Return a symbolic tensor by its name.

        Raises:
            ValueError: If there is no such tensor.
        """
        calls = internals.calls_of(self.network(ref.layer), self.layer(ref.layer))
        if ref.call >= len(calls) or ref.output >= len(calls[ref.call].outputs):
            raise ValueError(
                f"There is no tensor {ref}: the layer is called {len(calls)} times and puts out "
                f"{len(calls[0].outputs)} tensor(s) at each."
            )
        return calls[ref.call].outputs[ref.output]

    def call(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """Call a layer or operation on symbolic tensors. Returns the tensors that it puts out."""
        if not internals.calls_around(operation):
            self.added.append(operation)
        made = self._wiring.call(operation, args, dict(kwargs))
        outputs = keras.tree.flatten(made)
        self._new_calls.append(internals.made_by(outputs[0])[1])
        self._touched.append(operation)
        return outputs

    def set_arguments(self, node: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Let a call read other tensors, of the same shapes.

        Raises:
            ValueError: If the shapes differ.
        """
        before = list(node.input_tensors)
        after = [x for x in keras.tree.flatten((list(args), dict(kwargs))) if isinstance(x, keras.KerasTensor)]
        if len(before) == len(after) and all(x is y for x, y in zip(before, after, strict=True)):
            return
        if [tuple(x.shape) for x in before] != [tuple(x.shape) for x in after]:
            raise ValueError(
                f"Layer '{node.operation.name}' cannot read tensors of shapes {[x.shape for x in after]}: expected "
                f"{[x.shape for x in before]}."
            )
        self._wiring.set_arguments(node, args, kwargs)
        self._touched.append(node.operation)

    def set_outputs(self, network: Any, outputs: Sequence[Any]) -> None:
        """Let a Functional model put out other tensors, of the same shapes.

        Raises:
            ValueError: If the shapes differ.
        """
        if [x.shape for x in outputs] != [x.shape for x in network.outputs]:
            raise ValueError(
                f"'{network.name}' must put out tensors of shapes {[x.shape for x in network.outputs]}. Received: "
                f"{[x.shape for x in outputs]}."
            )
        self._touched += internals.operations_of(network)
        self._wiring.set_outputs(network, outputs)

    def replace(self, network: Any, old: Any, new: Any) -> None:
        """Let all that read a tensor, but the calls of this change, read another one.

        Raises:
            ValueError: If they differ in shape or dtype.
        """
        if old is new:
            return
        if old.shape != new.shape or old.dtype != new.dtype:
            maker = internals.made_by(old)[0].name
            raise ValueError(
                f"The part that takes the place of the output of '{maker}' must have the same shape and dtype: expected "
                f"{old.shape}, {old.dtype}. Received: {new.shape}, {new.dtype}. Give it a last layer that makes that shape, "
                "such as Dense, a 1 x 1 convolution, Reshape or Cropping."
            )
        new_calls = set(map(id, self._new_calls))
        readers = [node for node in internals.readers_of(old) if id(node) not in new_calls]
        self._wiring.redirect(old, new, readers)
        self._touched += [node.operation for node in readers]
        if any(tensor is old for tensor in network.outputs):
            self._wiring.redirect_outputs(network, old, new)
        self._touched.append(network.operations[0])

    def settle(self) -> None:
        """Remove calls that nothing reads any more, and bring the models that hold the others in line.

        Raises:
            ValueError: If another model reads a call that would be removed.
        """
        if others := self._read_elsewhere():
            gc.collect()  # by a model that is not used any more, perhaps
            others = self._read_elsewhere()
        if others:
            raise ValueError(
                f"Cannot remove calls of '{self.model.name}' that another model reads: {', '.join(others)}. Delete that model, "
                "or let it read what stays."
            )
        dead = list(self._lost().values())
        self._wiring.take_out(dead)
        for network in holders.networks_with([*self._touched, *(node.operation for node in dead)]):
            self._wiring.read_again(network)

    def _lost(self) -> dict[int, Any]:
        """Calls that models had before and that do not lead to their outputs any more."""
        lost: dict[int, Any] = {}
        for network in holders.networks_with(self._touched):
            kept = internals.calls_behind(network)
            lost |= {
                id(node): node for node in internals.calls_in(network) if id(node) not in kept and not node.is_input
            }
        return lost

    def _read_elsewhere(self) -> list[str]:
        """What models still read of calls that others do not have any more."""
        lost = self._lost()
        networks = holders.networks_with(node.operation for node in lost.values())
        return [
            f"'{network.name}' reads '{node.operation.name}'"
            for network in networks
            for key, node in internals.calls_behind(network).items()
            if key in lost
        ]

    def take_back(self) -> None:
        """Make everything what it was."""
        self._wiring.take_back()

    def seal(self) -> None:
        """Note how things are now, so that `check_sealed` sees what was connected since."""
        self._wiring.seal()
        self._known = weakref.WeakSet(holders.networks_with(self.added))

    def check_sealed(self) -> None:
        """Raise if layers of the change were connected to other models since.

        Raises:
            ValueError: If they were.
        """
        others = [network.name for network in holders.networks_with(self.added) if network not in self._known]
        if others or not self._wiring.is_sealed():
            raise ValueError(
                f"Cannot undo the last edit of '{self.model.name}': its layers were connected to other models since"
                f"{': ' + ', '.join(others) if others else ''}. Delete these first, or remove the layers by hand."
            )


def _once(operations: Iterable[Any]) -> list[Any]:
    return list({id(operation): operation for operation in operations}.values())


def _functional(model: Any, name: str) -> Any:
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"Cannot edit the calls of the Sequential model '{name}', which is a list of layers. Convert it: "
            "StructuralModel.from_model(model) makes a Functional model of it."
        )
    return internals.functional_of(model)


def _operation(network: Any, name: str, path: str) -> Any:
    found = next((operation for operation in network.operations if operation.name == name), None)
    if found is None:
        known = [operation.name for operation in network.operations]
        raise ValueError(f"There is no layer '{path}'. Layers of '{network.name}': {known}.")
    return found
