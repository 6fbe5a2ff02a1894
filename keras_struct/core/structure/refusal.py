"""What is raised where something cannot be measured, or a policy cannot work."""

from __future__ import annotations


class MeasurementError(ValueError):
    """Something cannot be measured: on these numbers, or for this layer.

    Raised by a policy while a model trains, it costs that look at the structure and nothing else: training goes on, with one
    warning. Raise it in triggers, initializers and selectors of your own where numbers may be beyond use.
    """


class AxisRefused(MeasurementError):
    """A policy cannot work on one axis, whatever the data: the layers around it do not allow what it computes.

    Strategies leave such an axis out, or make do with a plainer policy there, and go on with the others; requested by hand,
    it is an error like any other.
    """
