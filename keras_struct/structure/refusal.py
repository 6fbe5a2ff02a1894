"""What a policy says of an axis that it cannot work on."""

from __future__ import annotations


class AxisRefused(ValueError):
    """A policy cannot work on one axis, whatever the data: the layers around it do not allow what it computes.

    Strategies leave such an axis out, or make do with a plainer policy there, and go on with the others; asked for by hand,
    it is an error like any other.
    """
