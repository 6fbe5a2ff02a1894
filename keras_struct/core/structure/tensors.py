"""Names of the tensors of a network."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorRef:
    """A tensor of a network, named by the layer that makes it.

    Attributes:
        layer: Path of the layer; layers inside a nested model have the names of the models in front, as in `"backbone/conv1"`.
        call: Which call of the layer, for one that is called several times in the network, in the order of the calls.
        output: Which of the tensors that the layer puts out.
    """

    layer: str
    call: int = 0
    output: int = 0

    def __str__(self) -> str:
        call = f", call {self.call}" if self.call else ""
        return f"'{self.layer}'{call}" + (f", output {self.output}" if self.output else "")
