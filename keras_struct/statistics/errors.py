"""What is raised where something cannot be measured."""

from __future__ import annotations


class MeasurementError(ValueError):
    """Something cannot be measured: on these numbers, or for this layer.

    Raised by a policy while a model trains, it costs that look at the structure and nothing else: training goes on, with one
    warning. Raise it in triggers, initializers and selectors of your own where numbers may be beyond use.
    """
