"""Edits of single connections."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Rewire:
    """Which connections a masked layer has after the edit: synaptogenesis and synaptic pruning.

    Attributes:
        layer: Name of the layer (its path, in a nested model).
        mask: Shape of the layer's kernel, bool: `True` where a connection is.
        values: Shape of the kernel: weights of the connections that are new; zeros by default. Other entries are ignored.
        shift: Shape of the kernel: what is added to the weights of connections that stay; nothing by default.
    """

    layer: str
    mask: np.ndarray
    values: np.ndarray | None = None
    shift: np.ndarray | None = None

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask)
        if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"The mask of layer '{self.layer}' must hold booleans, or 0 and 1 only. Received dtype {mask.dtype}."
            )
        object.__setattr__(self, "mask", mask.astype(bool))
        for name in ("values", "shift"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rewire):
            return NotImplemented
        pairs = ((self.mask, other.mask), (self.values, other.values), (self.shift, other.shift))
        return self.layer == other.layer and all(_same(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        return hash((self.layer, self.mask.shape, self.mask.tobytes()))

    @property
    def count(self) -> int:
        """How many connections there are after the edit."""
        return int(self.mask.sum())

    def to_json(self) -> str:
        """Return the edit as JSON; `Rewire.from_json` gives an equal edit."""
        arrays = {name: _packed(getattr(self, name)) for name in ("values", "shift")}
        mask = {"shape": self.mask.shape, "bits": pack_bits(self.mask)}
        return json.dumps({"edit": "Rewire", "layer": self.layer, "mask": mask, **arrays})

    @classmethod
    def from_json(cls, text: str) -> Rewire:
        """Return the edit that `to_json` wrote."""
        data = json.loads(text)
        mask = unpack_bits(data["mask"]["bits"], tuple(data["mask"]["shape"]))
        return cls(data["layer"], mask, _unpacked(data["values"]), _unpacked(data["shift"]))


def pack_bits(array: np.ndarray) -> str:
    """Return booleans as text, eight in a byte."""
    return base64.b64encode(np.packbits(array.ravel()).tobytes()).decode()


def unpack_bits(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the booleans that `pack_bits` packed."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=int(np.prod(shape)))
    return bits.astype(bool).reshape(shape)


def _same(a: Any, b: Any) -> bool:
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))


def _packed(array: np.ndarray | None) -> Any:
    return None if array is None else {"shape": array.shape, "dtype": str(array.dtype), "data": array.ravel().tolist()}


def _unpacked(data: Any) -> np.ndarray | None:
    return None if data is None else np.array(data["data"], data["dtype"]).reshape(data["shape"])
