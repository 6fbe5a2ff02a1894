"""What layers share that gain and lose units while they train."""

from __future__ import annotations

from typing import Any, ClassVar

from keras_struct.core.backend import current
from keras_struct.core.structure.rules import AxisRule

_Mixin: Any = object


class Growable(_Mixin):
    """A Keras layer with a kernel whose last two axes are those of inputs and units, and a bias; it comes before that class.

    Subclasses name the arguments that say how many units there are (`_size`), and to how many they may grow (`_limit`).
    """

    _size: ClassVar[str]
    _limit: ClassVar[str]

    @property
    def _input_axis(self) -> int:
        """Axis of the kernel along which inputs lie; units lie along the next."""
        return 0

    def unit_rules(self) -> tuple[AxisRule, ...]:
        """Which units lie along which axis of which variable."""
        consume = AxisRule("kernel", self._input_axis, "consume")
        produce = AxisRule("kernel", self._input_axis + 1, "produce", size=self._size)
        return (consume, produce, AxisRule("bias", 0, "produce")) if self.use_bias else (consume, produce)

    @property
    def connected_kernel(self) -> Any:
        """The kernel as `call` uses it."""
        return self.kernel

    def _finished(self, outputs: Any, channels_first: bool = False) -> Any:
        """Add the bias and apply the activation, without looking at how many units there are."""
        if self.use_bias:
            outputs = current().add_bias(outputs, self.bias, channels_first)
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, with the current number of units."""
        return {**super().get_config(), self._limit: getattr(self, self._limit)}


def checked_limit(name: str, limit: int | None, start: int) -> int | None:
    """Return `limit` unless it is smaller than the width to start with."""
    if limit is not None and limit < start:
        raise ValueError(
            f"`{name}` must be at least the number to start with, {start}, or None. Received: {name}={limit}"
        )
    return limit
