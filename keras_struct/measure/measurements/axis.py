"""What policies see of one unit axis."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NoReturn, TypeVar, cast

from keras_struct.core.structure.arrays import Floats
from keras_struct.measure.measurements.fans import FanIn, FanOut
from keras_struct.measure.measurements.gradients import AxisGradients, no_batch
from keras_struct.measure.statistics.candidates import Border

T = TypeVar("T")

UNLIMITED = 2**31
"""How many units an axis without a limit may still get."""


class UnitActivity(NamedTuple):
    """How active each unit of an axis is, `(M,)` float64 each.

    Attributes:
        mean: Mean of its post-activations.
        magnitude: Mean magnitude of its post-activations.
        zeros: Share of zeros among them.
    """

    mean: Floats
    magnitude: Floats
    zeros: Floats


class Normalization(NamedTuple):
    """The batch normalisation behind the first layer that makes the units, `(M,)` float64 each.

    Attributes:
        scale: γ.
        factor: γ/√(σ²+ε), by which a unit is multiplied.
    """

    scale: Floats
    factor: Floats


def no_inputs(*_: object) -> NoReturn:
    """Stand for what measures activations where there are no inputs.

    Raises:
        ValueError: With what to do about it.
    """
    raise ValueError(
        "There are no inputs to measure on: recent inputs are kept only while a strategy trains that looks at activations. Pass "
        "`data=x` to `prune`, `grow` or `measure`, or `probe=x` to compile. A trigger, selector or initializer of your own that "
        "looks at activations says so, `needs_inputs: ClassVar[bool] = True`."
    )


@dataclass(frozen=True, eq=False)
class AxisMeasurement:
    """One unit axis of a running network. Expensive parts are computed when they are requested.

    Activations, inputs and candidates are those of the first layer that makes the units.

    Attributes:
        axis: Its name.
        units: Its width, M.
        max_units: Largest width it may have, or `None`.
        kind: `"conv"` if its first layer is a convolution, else `"dense"`.
        fan_in: Incoming weights, one entry for each kernel that makes the units: one for a layer, two for one with a gate.
        fan_out: Returns the outgoing weights, one entry for each kernel that reads them.
        entries: Takes a number of new units and returns the shape of what an edit takes for them, by `"layer/variable"` and
            `"layer/variable/axis"`; nothing where a measurement was made by hand.
        initial_units: Its width when the model was built.
        loss: Training loss of the last step, or `None` where it is not known.
        gram: Returns the Gram matrix HᵀH/n of the post-activations, `(M, M)` float64.
        samples: Returns n, the number of rows of H: samples times positions.
        candidates: Takes incoming weights `(..., K)` of candidate units and returns, in float64, their products with the
            existing units HᵀC/n `(M, K)` and their mean squares `(K,)`.
        candidate_gradients: Takes incoming weights `(..., K)` and factors `(M, K)` and `(K,)`; returns the derivative, by
            the weights, of the sum of the factors times HᵀC/n and half the mean squares.
        orthogonality_gap: Returns the measure of `keras_struct.statistics.orthogonality_gap`; for convolutions with one entry
            a channel and position.
        input_gram: Returns the second moments XᵀX/n of what enters the units, `(fan_in, fan_in)` float64, in the order of
            the flattened incoming weights of a unit; for a convolution a row is a patch.
        bias: Returns the biases of the units in their first layer, `(M,)`, or `None` if it has none.
        activity: Returns how active each unit is.
        normalization: Returns the batch normalisation behind the first layer, or `None` without one.
        slope: Returns the derivative, at 0, of what follows a unit's sum of inputs: normalisation and activation.
        offset: Returns what a unit with zero incoming weights emits.
        gradients: Gradients of the loss on the last training batch, which raise when they are requested if there is none.
        affordable: Takes a number of units, by how much other axes are to grow, and largest numbers of parameters and of
            operations of the model (or `None`); returns how many of the units these allow.
        warn: Takes a key and a text; warns, once in a training for each key.
    """

    axis: str
    units: int
    max_units: int | None
    kind: Literal["conv", "dense"]
    fan_in: tuple[FanIn, ...]
    fan_out: Callable[[], tuple[FanOut, ...]] = tuple
    entries: Callable[[int], Mapping[str, tuple[int, ...]]] = lambda count: {}
    initial_units: int = 0
    loss: float | None = None
    gram: Callable[[], Floats] = no_inputs
    samples: Callable[[], int] = no_inputs
    candidates: Callable[[Floats], Border] = no_inputs
    candidate_gradients: Callable[[Floats, Floats, Floats], Floats] = no_inputs
    orthogonality_gap: Callable[[], float] = no_inputs
    input_gram: Callable[[], Floats] = no_inputs
    bias: Callable[[], Floats | None] = lambda: None
    activity: Callable[[], UnitActivity] = no_inputs
    normalization: Callable[[], Normalization | None] = lambda: None
    slope: Callable[[], float] = lambda: 1.0
    offset: Callable[[], float] = lambda: 0.0
    gradients: AxisGradients = AxisGradients(no_batch, "")  # noqa: RUF009
    affordable: Callable[[int, Mapping[str, int], int | None, int | None], int] = lambda count, *limits: count
    warn: Callable[[str, str], None] = lambda key, text: warnings.warn(text, stacklevel=3)
    _memory: dict[Hashable, object] = field(init=False, default_factory=dict, repr=False)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what a function computes, called when it is first requested under a key."""
        if key not in self._memory:
            self._memory[key] = compute()
        return cast("T", self._memory[key])

    @property
    def room(self) -> int:
        """How many units may still be added."""
        return UNLIMITED if self.max_units is None else max(0, self.max_units - self.units)
