"""A Keras model whose structure changes while `fit` runs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, overload

import keras

from keras_struct.core.backend import current, keras_internals
from keras_struct.core.model.convert import convert_layers, copy_compile_state
from keras_struct.core.model.distribution import refuse_distribution
from keras_struct.core.model.epoch_shuffle import epoch_shuffled, is_array_data
from keras_struct.core.model.loading import cannot_rebuild
from keras_struct.core.model.parts import StructuralParts, parts_of
from keras_struct.core.model.stepping import StructuralStepping
from keras_struct.core.model.suitability import warn_of_frozen
from keras_struct.core.model.targets import NothingToEditError
from keras_struct.core.model.weights import StructuralWeights
from keras_struct.core.model.weights_file import state_array, state_from_array, structure_in
from keras_struct.core.structure import edits
from keras_struct.core.structure.capabilities import ResumesByEpoch
from keras_struct.core.structure.events import StructureEvent, StructureLog
from keras_struct.core.structure.graph import StructureGraph
from keras_struct.core.surgery.copying import check_hooks
from keras_struct.core.surgery.edit_kinds import NewSlots
from keras_struct.policies.policy import Policy, pack, unpack

_STATE = "structure"


@keras.saving.register_keras_serializable("keras_struct")
class StructuralModel(keras.Model):
    """Keras model whose neurons and channels come and go while it trains.

    `fit` is ordinary Keras training. Between gradient steps the `strategy` given to `compile` looks at measurements of
    the running network and may edit it; weights, optimizer state and statistics follow.

    Args:
        inputs: As `keras.Model`, or a list of layers that follow each other (the first may be a `keras.Input`).
        outputs: As `keras.Model`; left out for a list of layers.
        **kwargs: `name`, `trainable`.

    Raises:
        ValueError: If a list of layers does not begin with an input.

    Examples:
        >>> model = StructuralModel([keras.Input((4,)), GrowableDense(40, activation="relu"), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse", strategy=NorthSelect(max_units=64))
        >>> history = model.fit(x, y, epochs=3, verbose=0)
        >>> event = model.grow(next(iter(model.structure.axes)), 2)
        >>> event.after - event.before
        2
    """

    _structure_config: Any = None

    def __init__(self, inputs, outputs=None, name=None, **kwargs):
        if outputs is None:
            inputs, outputs = _chain(inputs)
        super().__init__(inputs=inputs, outputs=outputs, name=name, **kwargs)
        self._structural = StructuralParts(self)

    @classmethod
    def from_model(cls, model: keras.Model) -> StructuralModel:
        """Convert any Functional or Sequential Keras model.

        Args:
            model: A built model. It is left as it is; the new one has layers of the same names and copies of the
                weights, of the optimizer's state and of the compile arguments.

        Returns:
            A structural model that computes the same, in which convolutions are growable.

        Raises:
            ValueError: If the model is not built, is a subclassed model without a graph of layers, or has a `train_step`,
                `compute_loss`, `call` or the like of its own that this class does not have.
        """
        if not keras_internals.constructor_takes_ends(cls):
            raise ValueError(
                f"{cls.__name__} has a constructor of its own that does not take inputs and outputs, so that from_model cannot "
                f"make one. Call StructuralModel.from_model(model), or let {cls.__name__}.__init__ take (inputs, outputs, name)."
            )
        check_hooks(model, cls)
        converted = convert_layers(model)
        new = cls(*keras_internals.structured_ends(converted), name=converted.name)
        copy_compile_state(model, new)
        return new

    # Structure

    @property
    def structure(self) -> StructureGraph:
        """The units: `.axes` maps the name of each editable axis to its width, `.locked` the others to reasons."""
        live = self._structural.live
        live.follow_layers()
        return live.graph

    @property
    def structure_log(self) -> StructureLog:
        """Every edit so far, oldest first."""
        return self._structural.editor.log

    @overload
    def apply(
        self, edit: list[Any] | tuple[Any, ...], values: None = None, preserve: bool = True
    ) -> list[StructureEvent]: ...

    @overload
    def apply(self, edit: Any, values: Mapping[str, Any] | None = None, preserve: bool = True) -> StructureEvent: ...

    def apply(self, edit, values=None, preserve=True):
        """Carry out an edit on weights, optimizer slots and everything Keras recorded: all of it, or nothing.

        Args:
            edit: The edit (`Resize` of units, `Rewire` of connections, `Reconfigure` of a layer), or a list of edits of different
                axes and layers, which are carried out at once: that is faster than one after the other.
            values: New weights, in place of those that a single `Resize` brings; see `keras_struct.structure.Values`.
            preserve: Refuse an edit of units that a normalisation or an activation mixes, which cannot keep the
                function.

        Returns:
            What was logged, an event for each edit.

        Raises:
            ValueError: If the edit does not fit; model and optimizer are as they were.
        """
        editor = self._structural.editor
        if isinstance(edit, list | tuple):
            if values is not None:
                raise ValueError("`values` belong to a single edit; several edits bring their own.")
            warn_of_frozen(editor.network, self, edit)
            return editor.apply(edit, preserve)
        if values is not None:
            if not isinstance(edit, edits.Resize):
                raise ValueError(
                    "`values` belong to a `Resize`; give a `Rewire` its own `values`, in the shape of the kernel."
                )
            edit = edits.Resize(edit.axis, edit.source, edits.Values(values))
        warn_of_frozen(editor.network, self, [edit])
        return editor.apply([edit], preserve)[0]

    def structural_step(
        self,
        inputs: Any = None,
        logs: Mapping[str, Any] | None = None,
        targets: Any = None,
        sample_weight: Any = None,
    ) -> list[StructureEvent]:
        """Let the strategy look and edit once: for `train_on_batch` and loops of your own, after each gradient step.

        Args:
            inputs: Inputs of the batch just trained on, to be kept for measuring.
            logs: What the step returned; a `"loss"` of NaN stops structural edits, and triggers that watch the loss take
                `"loss"` for that of this step.
            targets: Targets of the batch, for strategies that look at gradients.
            sample_weight: Weights of its samples, likewise.

        Returns:
            The events, none if nothing changed.
        """
        parts = self._structural
        if inputs is not None and not parts.observation.remembers_batch:
            parts.observation.remember((inputs, targets, sample_weight) if targets is not None else (inputs,))
        parts.progress.step += 1
        if logs and "loss" in logs:
            parts.observation.loss = float(logs["loss"])
        return parts.runner.structural_step(logs)

    # Training

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        *,
        strategy: Policy | None = None,
        probe: Any = None,
        targets: Any = None,
        new_slots: NewSlots = "initial",
        jit_compile: bool | str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training, as `keras.Model.compile`.

        Args:
            optimizer: Any Keras optimizer but Adafactor and MultiOptimizer.
            loss: As in Keras.
            strategy: When, where, how many and how to edit; `None` for plain training.
            probe: Inputs on which the structure is measured: an array (or a structure of arrays), or the number of
                recent training inputs to keep. By default twice as many recent inputs as an axis may have units (for
                convolutions a sample counts once for each position); when there are fewer training samples than that,
                growth stops where an axis has as many units as rows to measure it on. With `steps_per_execution` above
                1 only the last batch of each execution is kept.
            targets: Targets of the `probe`, for strategies that look at gradients; by default these are computed on the
                last training batch.
            new_slots: What optimizer slots hold for new units: `"initial"`, as freshly built, or `"mean"`, the mean
                over the existing units. Adam gives a unit that is born late a first step of up to 3.2 times the
                learning rate, since its fresh moments are not bias-corrected.
            jit_compile: As in Keras. By default off on TensorFlow and PyTorch, since XLA compiles each new width again, and
                on on JAX, which runs nothing well without it.
            **kwargs: As in Keras.

        Raises:
            ValueError: If the strategy has no layer to act on, or would have to leave out all, the optimizer's state cannot
                follow the structure, or the model is distributed.
        """
        refuse_distribution(self)
        jit = current().JIT if jit_compile is None else jit_compile
        super().compile(optimizer, loss, jit_compile=jit, **kwargs)
        parts = self._structural
        parts.editor.begin(new_slots)
        parts.runner.use_strategy(strategy, probe, targets)
        packed = None if strategy is None else pack(strategy)
        self._structure_config = {"strategy": packed, "new_slots": new_slots, "jit_compile": jit_compile}

    def get_compile_config(self):
        """Return what `compile_from_config` needs; an array given as `probe` is not saved."""
        config = super().get_compile_config()
        if config and self._structure_config is not None:
            buffer = self._structural.observation.buffer
            config["structure"] = {**self._structure_config, "probe": None if buffer is None else buffer.samples}
            config["optimizer"] = keras.saving.serialize_keras_object(self.optimizer)  # with its loss scaling
        return config

    def compile_from_config(self, config):
        """Compile a loaded model as it was compiled when it was saved."""
        config = dict(config)
        own = config.pop("structure", {}) or {}
        config = keras.saving.deserialize_keras_object(config)
        strategy = own.get("strategy")
        own = {**own, "strategy": None if strategy is None else unpack(strategy)}
        options = {**config, **own}
        try:
            self.compile(**options, auto_scale_loss=False)
        except NothingToEditError as error:
            warnings.warn(f"The model is loaded without its strategy: {error}", stacklevel=2)
            self.compile(**{**options, "strategy": None}, auto_scale_loss=False)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        """Train, as `keras.Model.fit`; the structure changes between gradient steps.

        `history.structure` of the returned history holds the events of this model.
        """
        parts, listed = self._structural, _as_list(callbacks)
        if not parts.progress.step:
            parts.observation.prime(x)  # the baseline is that of the start
        parts.progress.listeners = listed
        options = {"batch_size": batch_size, "epochs": epochs, "verbose": verbose, **kwargs}
        arguments = {**options, "x": x, "y": y}
        seed = next((callback.seed for callback in listed if isinstance(callback, ResumesByEpoch)), None)
        if seed is not None and kwargs.get("shuffle", True) and is_array_data(x):
            arguments = epoch_shuffled(x, y, seed, lambda: parts.progress.epoch, options)
        history = super().fit(callbacks=[StructuralStepping(parts), *listed], **arguments)
        history.structure = StructureLog(self.structure_log)
        return history

    def make_plain_train_function(self) -> None:
        """Make Keras's own train function."""
        super().make_train_function(force=True)

    def make_train_function(self, force=False):
        """Make the train function; with a buffer of inputs, one that also hands them over."""
        if self.train_function is not None and not force:
            return self.train_function
        parts, backend = self._structural, current()
        seen = parts.observation
        if not seen.taps_batches:
            self.make_plain_train_function()
        else:
            self.train_function: Any = backend.tapped_train_function(self, seen.remember, seen.keeps_targets)
        self.train_function = backend.skipping(self, self.train_function, parts.progress.leaves_out)
        return self.train_function

    def undo(self) -> list[StructureEvent]:
        """Take back what was edited last, all that was carried out at once; see the guide on edits for what comes back.

        Returns:
            What was logged.

        Raises:
            ValueError: If there is nothing to undo, or it cannot be undone any more; the model is as it was.
        """
        return self._structural.editor.undo()

    # Saving

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return a model from what `get_config` returned, as `keras.Model.from_config`; errors are short."""
        layers = config.get("layers")
        try:
            return super().from_config(config, custom_objects)
        except TypeError as error:
            raise ValueError(cannot_rebuild(layers, error, custom_objects)) from None

    def save_own_variables(self, store):
        """Write the state of the structure beside the weights."""
        super().save_own_variables(store)
        store[_STATE] = state_array(self._structural.checkpoint.state())

    def load_own_variables(self, store):
        """Read the state of the structure."""
        super().load_own_variables({key: store[key] for key in store.keys() if key != _STATE})  # noqa: SIM118
        if _STATE in store.keys():  # noqa: SIM118
            state, checkpoint = state_from_array(store[_STATE]), self._structural.checkpoint
            if not checkpoint.follows_outer:
                checkpoint.match(state)
            for layer in self._flatten_layers(include_self=False):
                if isinstance(layer, StructuralModel):
                    parts_of(layer).checkpoint.follows_outer = True  # this model has brought its widths in line
            checkpoint.restore(state)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Load weights, as `keras.Model.load_weights`; a file of other widths restores its structure first."""
        if (state := structure_in(filepath)) is not None:
            self._structural.checkpoint.match(state)
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

    def get_weights(self):
        """Return the weights, as `keras.Model.get_weights`, in a list that knows the structure that they belong to."""
        return StructuralWeights(super().get_weights(), self._structural.checkpoint.structure())

    def set_weights(self, weights):
        """Set weights, as `keras.Model.set_weights`; weights of another structure restore it first."""
        checkpoint = self._structural.checkpoint
        if isinstance(weights, StructuralWeights):
            checkpoint.match(weights.structure)
        else:
            checkpoint.match_weights(weights)
        super().set_weights(weights)


def _chain(layers: Any) -> tuple[Any, Any]:
    """Inputs and outputs of layers that follow each other."""
    if isinstance(layers, keras.Model) or not isinstance(layers, list | tuple) or not layers:
        raise ValueError(
            "StructuralModel takes inputs and outputs as keras.Model does, or a list of layers; to convert a model use "
            f"StructuralModel.from_model(model). Received: {layers!r}"
        )
    sequential = keras.Sequential(list(layers))
    if not sequential.built:
        raise ValueError("A list of layers must begin with keras.Input(shape=...), so that the model can be built.")
    return keras_internals.structured_ends(sequential)


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, list | tuple) else ([] if callbacks is None else [callbacks])
