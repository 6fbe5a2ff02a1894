"""Connections of a model: make its layers masked, remove connections and make new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

import keras
import numpy as np

from keras_struct.core.backend.keras_internals import groups_of, is_adapted, structured_ends
from keras_struct.core.backend.layer_copies import copied
from keras_struct.core.model.convert import convert_layers, copy_compile_state, structural_kind
from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.layers import Dormant, MaskedConv2D, MaskedDense
from keras_struct.units.conv import GrowableConv2D
from keras_struct.units.dense import GrowableDense

Distribution = Literal["uniform", "er", "erk"]

_MASKED = {
    keras.layers.Dense: MaskedDense,
    GrowableDense: MaskedDense,
    keras.layers.Conv2D: MaskedConv2D,
    GrowableConv2D: MaskedConv2D,
}


def sparsify(
    model: keras.Model,
    sparsity: float = 0.0,
    distribution: Distribution = "erk",
    layers: Sequence[str] | None = None,
    dormant: Dormant = "silent",
    seed: int = 0,
) -> StructuralModel:
    """Convert a model into one whose connections can be edited, and remove some at random if asked to.

    Dense layers and 2D convolutions (without groups) become `MaskedDense` and `MaskedConv2D`.

    Args:
        model: A built Functional or Sequential model. It is left as it is; weights, compile arguments and the optimizer's
            state are copied.
        sparsity: Which share of all connections is missing at the start; random ones.
        distribution: How the others are spread over layers: `"uniform"`, the same share in each; `"er"`, Erdős-Rényi,
            proportional to (n_in + n_out) / (n_in n_out), so that large layers are sparser; `"erk"`, for convolutions with
            height and width of the kernel in sum and product, too.
        layers: Names of the layers to convert; all by default.
        dormant: What weights of connections that are not there do; see `MaskedDense`.
        seed: Chooses the connections.

    Returns:
        The new model; without `sparsity` it computes the same.

    Raises:
        ValueError: If the model is not built, one of `layers` cannot be converted, there is none, or a value is out of range.

    References:
        Mocanu et al., *Scalable Training of Artificial Neural Networks with Adaptive Sparse Connectivity*, 2018 (Erdős-Rényi);
        Evci et al., *Rigging the Lottery*, ICML 2020 (`"erk"`).

    Examples:
        >>> sparse = sparsify(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="d")]), sparsity=0.5)
        >>> sparse.connections
        {'d': 16}
    """
    if not 0 <= sparsity < 1:
        raise ValueError(
            f"`sparsity`, the share of connections that are missing, must be from 0 up to 1. Received: {sparsity}"
        )
    if distribution not in ("uniform", "er", "erk"):
        raise ValueError(f"`distribution` must be 'uniform', 'er' or 'erk'. Received: {distribution!r}")
    wanted = None if layers is None else set(layers)
    if wanted is not None and (strange := wanted - {layer.name for layer in _leaves(model) if _can(layer)}):
        raise ValueError(
            f"Cannot convert layers {sorted(strange)}: expected names of Dense layers, or of Conv2D layers without groups."
        )
    kind = structural_kind(model, StructuralModel)
    copy = convert_layers(model, lambda layer: _masked(layer, wanted, dormant))
    new = kind(*structured_ends(copy), name=model.name)
    copy_compile_state(model, new)
    if not new.connections:
        raise ValueError("The model has no Dense or Conv2D layer whose connections could be edited.")
    if sparsity:
        new.apply(_random(new, sparsity, distribution, seed))
        new.structure_log.clear()
    return new


def _leaves(model: Any) -> list[Any]:
    return [leaf for layer in model.layers for leaf in (_leaves(layer) if isinstance(layer, keras.Model) else [layer])]


def _can(layer: Any) -> bool:
    return type(layer) in _MASKED and groups_of(layer) == 1 and not is_adapted(layer)


def _masked(layer: Any, wanted: set[str] | None, dormant: Dormant) -> Any:
    if not _can(layer) or (wanted is not None and layer.name not in wanted):
        return None
    return copied(layer, _MASKED[type(layer)], drop=("groups",), dormant=dormant)


def _random(model: StructuralModel, sparsity: float, distribution: Distribution, seed: int) -> list[Rewire]:
    """Masks with random connections."""
    kernels = {name: tuple(layer.kernel.shape) for name, layer in model.masked_layers.items()}
    rng = np.random.default_rng(seed)
    edits = []
    for name, density in densities(kernels, 1 - sparsity, distribution).items():
        size = prod(kernels[name])
        mask = np.zeros(size, bool)
        mask[rng.choice(size, max(1, round(density * size)), replace=False)] = True
        edits.append(Rewire(name, mask.reshape(kernels[name])))
    return edits


def densities(kernels: Mapping[str, tuple[int, ...]], density: float, distribution: Distribution) -> dict[str, float]:
    """Return which share of connections each layer has, so that all together have a share `density`.

    A layer that would have more than all of its connections gets all, and the others share the rest.

    Args:
        kernels: Shape of each layer's kernel, inputs and outputs last.
        density: Share of all connections.
        distribution: As for `sparsify`.

    >>> densities({"a": (100, 100), "b": (10, 10)}, 0.1, "er")["b"]
    0.91...
    """
    weight = {name: _weight(shape, distribution) for name, shape in kernels.items()}
    full: set[str] = set()
    while True:
        rest = density * sum(map(prod, kernels.values())) - sum(prod(kernels[name]) for name in full)
        open_names = [name for name in kernels if name not in full]
        scale = rest / sum(weight[name] * prod(kernels[name]) for name in open_names) if open_names else 0.0
        crowded = {name for name in open_names if scale * weight[name] > 1}
        if not crowded:
            return {name: 1.0 if name in full else scale * weight[name] for name in kernels}
        full |= crowded


def _weight(shape: tuple[int, ...], distribution: Distribution) -> float:
    if distribution == "uniform":
        return 1.0
    extents = shape if distribution == "erk" else shape[-2:]
    return sum(extents) / prod(extents)
