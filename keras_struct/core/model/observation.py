"""What a strategy gets to see of a model in training: recent inputs, the last batch, its loss, and measurements of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any

import keras

from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.epoch_shuffle import is_array_data
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.model.probe_check import checked_probe
from keras_struct.core.surgery.trace import Network
from keras_struct.measure.costs import Costs
from keras_struct.measure.measurements.axis import AxisMeasurement
from keras_struct.measure.measurements.gradients import BatchGradients
from keras_struct.measure.probes.buffer import InputBuffer, Pieces, first_samples, samples_of
from keras_struct.measure.probes.gradient_sweep import GradientSweep
from keras_struct.measure.probes.probe import StructureProbe


class Observation:
    """What is measured of one model, and on what.

    Attributes:
        buffer: Inputs of recent training batches, or `None` when they are not kept.
        fixed_inputs: Inputs that were given to measure on.
        fixed_targets: Their targets, for strategies that look at gradients.
        fixed_weights: Their sample weights, where data were given for one edit.
        batch: Inputs, targets and sample weights of the last training batch, when they are kept.
        loss: Training loss of the last step.
        remembers_batch: Whether the last batch was handed over by the train function.

    Args:
        live: The network of the model.
    """

    def __init__(self, live: LiveNetwork) -> None:
        self._live = live
        self.buffer: InputBuffer | None = None
        self.fixed_inputs: Any = None
        self.fixed_targets: Any = None
        self.fixed_weights: Any = None
        self.batch: tuple[Any, Any, Any] | None = None
        self.keeps_targets = False
        self.loss: float | None = None
        self.remembers_batch = False
        self._warned: set[str] = set()
        self._probe: StructureProbe | None = None
        live.read_again.append(self.forget_compiled)
        live.layers_changed.append(self.forget_compiled)

    @property
    def model(self) -> Any:
        """The model."""
        return self._live.model

    @property
    def network(self) -> Network:
        """Its graph and layers."""
        return self._live.network

    def reset(self, keeps_targets: bool = False) -> None:
        """Forget what was given or kept to measure on."""
        self.buffer = self.fixed_inputs = self.fixed_targets = self.batch = self.loss = None
        self.keeps_targets = keeps_targets
        self._warned = set()

    @property
    def probe(self) -> StructureProbe:
        """What measures the running network."""
        if self._probe is None:
            outputs = internals.structured_ends(self.model)[1]
            self._probe = StructureProbe(self.network, outputs if keras.tree.is_nested(outputs) else None)
        return self._probe

    def forget_compiled(self) -> None:
        """Compile measurements again when they are next requested."""
        self._probe = None

    # What is kept

    @property
    def taps_batches(self) -> bool:
        """Whether the train function has to hand over its batches."""
        return self.buffer is not None or (self.keeps_targets and self.fixed_targets is None)

    def remember(self, batch: Any) -> None:
        """Keep a training batch: inputs, or inputs, targets and sample weights."""
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        self.remembers_batch = self.taps_batches
        if self.buffer is not None:
            self.buffer.add(inputs)
        if self.keeps_targets and targets is not None:
            self.batch = (inputs, targets, weights)

    def prime(self, x: Any) -> None:
        """Fill an empty buffer with the first samples of array data, so that the baseline is that of the start."""
        if self.buffer is not None and not self.buffer.full and is_array_data(x):
            self.buffer.samples = min(self.buffer.samples, samples_of(x))
            self.buffer.add(keras.tree.map_structure(_readable, first_samples(x, self.buffer.samples)))

    def inputs(self) -> Any:
        """Inputs on which the structure is measured, or `None` while there are none."""
        if self.fixed_inputs is not None:
            return self.fixed_inputs
        if self.buffer is not None:
            return self.buffer.inputs()
        return None if self.batch is None else self.batch[0]

    @contextmanager
    def looking_at(self, data: Any) -> Iterator[None]:
        """Measure on other data for a while: inputs, or inputs and targets, or these and sample weights.

        Raises:
            ValueError: If they do not fit the model.
        """
        if data is None:
            yield
            return
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        x, y = checked_probe(self.model, x, y)
        held = self.fixed_inputs, self.fixed_targets, self.fixed_weights
        self.fixed_inputs, self.fixed_targets, self.fixed_weights = x, y, weights
        try:
            yield
        finally:
            self.fixed_inputs, self.fixed_targets, self.fixed_weights = held

    def pieces(self) -> Any:
        """Inputs to measure on, piece by piece where they are kept so."""
        return self.buffer.pieces() if self.fixed_inputs is None and self.buffer is not None else self.inputs()

    def sample(self, count: int) -> Any:
        """A few of the inputs, or `None` while there are none."""
        inputs = self.pieces()
        inputs = inputs[0] if isinstance(inputs, Pieces) else inputs
        fixed = keras.tree.flatten(self.model.inputs)[0].shape[0]
        return None if inputs is None else first_samples(inputs, fixed or count)

    @property
    def full(self) -> bool:
        """Whether there are as many inputs as are wanted."""
        return self.fixed_inputs is not None or (self.buffer is not None and self.buffer.full)

    # Measuring

    def measure(
        self, axes: Sequence[str], limits: Mapping[str, int], initial: Mapping[str, int], residual: bool = True
    ) -> dict[str, AxisMeasurement]:
        """Return a measurement of each axis, computed as far as a policy asks."""
        costs: list[Costs] = []
        found = self.probe.measure(self.pieces(), axes, limits, self._gradients(axes), residual)
        return {
            axis: replace(
                measured,
                initial_units=initial[axis],
                loss=self.loss,
                affordable=partial(self._affordable, costs, axis),
                warn=self.warn,
            )
            for axis, measured in found.items()
        }

    def _affordable(self, counted: list[Costs], axis: str, *wanted: Any) -> int:
        """How many units of an axis are affordable; what the model costs is counted when it is first asked for."""
        if not counted:
            counted.append(Costs(self.model, self.network, self._input_shape()))
        return counted[0].affordable(axis, *wanted)

    @property
    def takes_any_size(self) -> bool:
        """Whether the model leaves extents of its inputs open, so that only data tell what it costs."""
        symbols = keras.tree.flatten(internals.structured_ends(self.model)[0])
        return any(extent is None for tensor in symbols for extent in tensor.shape[1:])

    def _input_shape(self) -> list[tuple[int, ...]] | None:
        """Shapes of one sample, of the inputs that are kept where the model does not state them."""
        sample = self.sample(1) if self.takes_any_size else None
        return None if sample is None else [tuple(map(int, part.shape[1:])) for part in keras.tree.flatten(sample)]

    def _gradients(self, axes: Sequence[str]) -> Callable[[int | None], BatchGradients] | None:
        """What measures gradients, when it is asked; `None` if there is no batch with targets."""
        batch = self.gradient_batch
        return None if batch is None else cache(lambda samples: self._sweep(batch, axes, samples))

    @property
    def gradient_batch(self) -> tuple[Any, Any, Any] | None:
        """Inputs, targets and sample weights that gradients are computed on, or `None`."""
        if self.fixed_targets is not None:
            return self.fixed_inputs, self.fixed_targets, self.fixed_weights
        if self.fixed_inputs is not None and not self.keeps_targets:
            return None  # inputs were given alone: a batch from before would tell of something else
        return self.batch

    def _sweep(self, batch: tuple[Any, Any, Any], axes: Sequence[str], samples: int | None) -> GradientSweep:
        self.check_loss()
        if samples is not None:
            inputs, targets, weights = (None if part is None else first_samples(part, samples) for part in batch)
            batch = (inputs, targets, weights)
        return GradientSweep(self.probe, internals.loss_function(self.model), batch, axes)

    def loss_function(self) -> Any:
        """What `fit` minimises, checked to have gradients."""
        self.check_loss()
        return internals.loss_function(self.model)

    def check_loss(self) -> None:
        """Raise unless gradients of the model's loss can be computed.

        Raises:
            ValueError: If the model is not compiled with a loss, or computes in float16.
        """
        if internals.loss_function(self.model) is None:
            raise ValueError(
                "A strategy that looks at gradients needs a loss, and the model has none. Pass `loss` to compile, or use a "
                "strategy that looks at activations or weights."
            )
        if narrow := next((name for name, held in self.network.layers.items() if _computes_in_float16(held)), None):
            raise ValueError(
                "A strategy that looks at gradients cannot work in float16, in which they vanish unless the loss is scaled: "
                f"layer '{narrow}' computes in it. Use the dtype policy 'mixed_bfloat16' or 'float32'."
            )

    def check_buffer(self, axes: Sequence[str]) -> None:
        """Raise unless enough samples are kept to measure axes at their present widths.

        Raises:
            ValueError: If there would be no more rows of activations than units.
        """
        units = self.network.graph.units
        for axis in axes:
            width = units[axis].width if axis in units else 0
            if self.buffer is not None and width and self.probe.widest(axis, self.buffer.samples) < width:
                raise ValueError(
                    f"`probe={self.buffer.samples}` keeps too few samples to measure axis '{axis}', which has {width} units: "
                    f"pass more than {self.probe.rows_needed(axis, width)}, or leave `probe` out for as many as are needed."
                )

    def warn(self, key: str, text: str) -> None:
        """Warn, once for each key."""
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(text, stacklevel=4)


def _readable(part: Any) -> Any:
    """An array of SciPy as one of NumPy, which every backend reads."""
    return part.toarray() if hasattr(part, "toarray") else part


def _computes_in_float16(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Layer) and layer.compute_dtype == "float16"
