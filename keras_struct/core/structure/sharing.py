"""Variables that belong to several layers: a decoder that reads its encoder's kernel, a tied embedding."""

from __future__ import annotations

from dataclasses import dataclass

from keras_struct.core.structure.rules import Port


@dataclass(frozen=True)
class SharedVariable:
    """A variable that several layers hold.

    Where the rules of all of them name an axis of it, the units that lie along it in one are those of the others, too.
    Otherwise they cannot be edited, since an edit would change the variable under a layer of which nothing is known.

    Attributes:
        holders: Each layer with the name that the variable has in it.
    """

    holders: tuple[tuple[str, str], ...]

    def reason(self, port: Port, silent: tuple[str, str]) -> str:
        """Why units along an axis of the variable cannot be edited, given a layer that does not say how it uses them."""
        layer, name = silent
        own = next((holder for holder in self.holders if holder[0] != layer), silent)
        return (
            f"variable '{own[1]}' of layer '{own[0]}' also belongs to '{layer}', of which no unit rule says what lies along "
            f"its axis {port.axis}; give the class of '{layer}' a method unit_rules(), or use "
            f"keras_struct.register_unit_rules, with an AxisRule for the variable '{name}'"
        )
