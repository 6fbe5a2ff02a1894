"""Several layers of one's own in the place of one, of which a search chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_struct.nas.architecture import Activation, ArchitectureWeights


@keras.saving.register_keras_serializable("keras_struct")
class MixedOp(keras.layers.Layer):
    """The weighted sum of several layers, until a search has chosen one of them.

    Put it anywhere into a `StructuralModel`; `search.Darts` and `search.DartsPrime` train its weights, `model.choose()` leaves
    the strongest layer.

    Args:
        operations: Layers, or functions that make one, by name or in a list; they must output the same shape.
        activation: As `ArchitectureWeights`.
        shared: Whether the weights come as a second input, so that several `MixedOp`s choose alike: from
            `ArchitectureWeights(1, names, inputs=1, kept=1)`.
        temperature: As `ArchitectureWeights`.
        chosen: Name of the layer that has been chosen.
        **kwargs: As `keras.layers.Layer`.

    Attributes:
        operations: The layers by name.

    Raises:
        ValueError: If there is no layer, two have the same name, or their outputs differ in shape.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, equation 2.

    Examples:
        >>> conv = lambda size: keras.layers.Conv2D(8, size, padding="same")
        >>> mixed = layers.MixedOp({"narrow": conv(1), "wide": lambda: conv(3)})
        >>> mixed(np.zeros((2, 6, 6, 3))).shape
        TensorShape([2, 6, 6, 8])
    """

    retraced = True

    def __init__(
        self,
        operations: Mapping[str, Any] | Sequence[Any],
        activation: Activation = "softmax",
        shared: bool = False,
        temperature: float = 1.0,
        chosen: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.operations = _named(operations)
        self.shared = bool(shared)
        options: dict[str, Any] = {
            "activation": activation,
            "temperature": temperature,
            "nodes": 1,
            "inputs": 1,
            "kept": 1,
        }
        names = list(self.operations)
        self.weighting = None if shared else ArchitectureWeights(operations=names, name=f"{self.name}_alpha", **options)
        self.chosen = self.reconfigured({"chosen": chosen})["chosen"]

    @property
    def chosen(self) -> str | None:
        """Name of the layer that was chosen; the others are neither run nor trained."""
        return self._chosen

    @chosen.setter
    def chosen(self, name: str | None) -> None:
        self._chosen = name
        for other, layer in self.operations.items():
            layer.trainable = name is None or other == name

    def build(self, input_shape):
        """Build all layers."""
        shape = input_shape[0] if self.shared else input_shape
        found = {}
        for name, layer in self.operations.items():
            if not layer.built:
                layer.build(shape)
            found[name] = tuple(layer.compute_output_shape(shape))
        if len(set(found.values())) > 1:
            raise ValueError(
                f"The layers of '{self.name}' are added, and must output the same shape. They output "
                f"{', '.join(f'{name}: {shape}' for name, shape in found.items())}."
            )
        if self.weighting is not None:
            self.weighting.build()

    def call(self, inputs, training=False):
        """Add the layers' outputs, each times its weight; or return that of the one that was chosen."""
        x = inputs[0] if self.shared else inputs
        if self.chosen is not None:
            return self.operations[self.chosen](x)
        weights = inputs[1] if self.weighting is None else self.weighting(x, training=training)
        total: Any = 0.0
        for i, layer in enumerate(self.operations.values()):
            y = layer(x)
            total = total + y * keras.ops.cast(weights[0, i], y.dtype)
        return total

    def compute_output_shape(self, input_shape):
        """Return the output's shape."""
        return next(iter(self.operations.values())).compute_output_shape(input_shape[0] if self.shared else input_shape)

    @property
    def weighted(self) -> bool:
        """Whether nothing has been chosen yet."""
        return self.chosen is None

    def decision(self, genotype: Any, genes: Callable[[], Any]) -> dict[str, Any]:
        """Return the configuration after a choice: the layer that the weights mean, whatever the genotype."""
        return {"chosen": genes()[0][0]}

    @property
    def choice(self) -> dict[str, Any]:
        """The configuration that is left, for `reconfigured`."""
        return {"chosen": self.chosen}

    def reconfigured(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return attributes after a choice.

        Args:
            config: `chosen`, the name of a layer.

        Raises:
            ValueError: If there is no such layer.
        """
        name = config.get("chosen")
        if set(config) != {"chosen"} or (name is not None and name not in self.operations):
            raise ValueError(
                f"Layer '{self.name}' can choose one of {', '.join(self.operations)}. Received: {dict(config)}"
            )
        return {"chosen": name}

    def reweigh(self, config: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the layer's own weights after a choice: it has none that change."""
        return dict(values)

    def get_config(self):
        """Return the arguments of the constructor."""
        serialize = keras.saving.serialize_keras_object
        weighting = self.weighting
        own = {} if weighting is None else {"activation": weighting.activation, "temperature": weighting.temperature}
        operations = {name: serialize(layer) for name, layer in self.operations.items()}
        return {**super().get_config(), "operations": operations, "shared": self.shared, "chosen": self.chosen, **own}

    @classmethod
    def from_config(cls, config):
        """Make the layer that `get_config` describes."""
        operations = {n: keras.saving.deserialize_keras_object(o) for n, o in config["operations"].items()}
        return cls(**{**config, "operations": operations})


def _named(operations: Any) -> dict[str, Any]:
    """Layers by name."""
    if isinstance(operations, Mapping):
        found = {name: _made(layer) for name, layer in operations.items()}
    else:
        made = [_made(layer) for layer in operations]
        found = {layer.name: layer for layer in made}
        if len(found) < len(made):
            raise ValueError(f"Layers need different names. Received: {[layer.name for layer in made]}")
    if not found:
        raise ValueError("MixedOp chooses among layers, and needs one at least. Received none.")
    return found


def _made(layer: Any | Callable[[], Any]) -> Any:
    made = layer if isinstance(layer, keras.layers.Layer) else layer()
    if not isinstance(made, keras.layers.Layer):
        raise ValueError(f"Expected layers, or functions without arguments that make one. Received: {layer!r}")
    return made
