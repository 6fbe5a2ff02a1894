"""Two sets of weights that are trained in turns, within one compiled step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_struct.core.backend import current
from keras_struct.core.backend import keras_internals as internals
from keras_struct.core.model.parts import find_parts
from keras_struct.core.model.weights_file import structure_in
from keras_struct.search.penalty import Penalty
from keras_struct.search.schedules import ArchitectureSchedule
from keras_struct.search.unrolling import unrolled_gradients

Shuffle = Literal["none", "groups"]


class AlternatingModel(internals.BuiltByNetwork, keras.Model):
    """Trains a network's architecture weights on a batch B, and all others on a batch A.

    Only the gradient of batch B by the architecture weights is used for these, and only that of batch A by the others. Without a
    schedule both move in every step, the architecture weights first. With one the others move first, and it says whether the
    architecture weights follow.

    Args:
        network: The network.
        architecture: Its architecture weights, a list of variables.
        architecture_optimizer: Optimizer of these; `None` leaves them as they are.
        shuffle: `"groups"` shuffles the entries of each gradient by architecture weights, as an ablation.
        seed: Of the shuffling.
        schedule: When architecture weights move.
        penalty: What is added to their loss.
        clip_norm: To which norm all gradients by the others together are clipped.
        weight_decay: By what the others are multiplied and added to their gradients, after these are clipped.
        architecture_decay: The same for the architecture weights.
        unrolled: Whether the architecture weights' gradient is that after a virtual step of the others (second order).
        after_step: Called after each step of the others.

    Stateful recurrent layers carry two states, one along the batches A and one along the batches B.

    Raises:
        NotImplementedError: On other backends than TensorFlow and PyTorch.
        ValueError: If the step is `unrolled` and layers carry states.
    """

    def __init__(
        self,
        network: Any,
        architecture: list[Any],
        architecture_optimizer: Any = None,
        shuffle: Shuffle = "none",
        seed: int = 0,
        schedule: ArchitectureSchedule | None = None,
        penalty: Penalty | None = None,
        clip_norm: float | None = None,
        weight_decay: float = 0.0,
        architecture_decay: float = 0.0,
        unrolled: bool = False,
        after_step: Callable[[], None] | None = None,
    ) -> None:
        if keras.backend.backend() not in ("tensorflow", "torch"):
            raise NotImplementedError(
                f"Searches that train weights and architecture in turns run on TensorFlow and PyTorch. Keras runs on "
                f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow or KERAS_BACKEND=torch."
            )
        super().__init__()
        self.network = network
        self.architecture_optimizer = architecture_optimizer
        self.architecture = list(architecture)
        self.shuffle, self.schedule, self.penalty = shuffle, schedule, penalty
        self.clip_norm, self.weight_decay, self.architecture_decay = clip_norm, weight_decay, architecture_decay
        self.unrolled, self.after_step = unrolled, after_step
        self.seeds = keras.random.SeedGenerator(seed)
        self.steps = self._number("steps")
        self.total = self._number("total", 1.0)
        self.architecture_steps = self._number("architecture_steps")
        self.scheduled = {} if schedule is None else {n: self._number(n, v) for n, v in schedule.initial().items()}
        values = [] if penalty is None else penalty.initial()
        self.penalized = [self._number(f"penalty_{i}", value) for i, value in enumerate(values)]
        self._states = internals.carried_states(network)
        self._other_states = [self._number(f"state_{i}", v.value) for i, v in enumerate(self._states)]
        if unrolled and self._states:
            raise ValueError(
                "A second-order step runs over its batches several times, and layers that carry states would go on each time. "
                "Use first order, or layers with stateful=False."
            )
        if architecture_optimizer is not None:
            architecture_optimizer.build(self.architecture)
            current().prepare_optimizer(architecture_optimizer)

    def _number(self, name: str, value: Any = 0.0) -> Any:
        """A number, or an array, that is saved with the model."""
        start = keras.ops.convert_to_tensor(value, "float32")
        return self.add_weight(
            name=name, shape=start.shape, dtype="float32", trainable=False, initializer=lambda *_, **__: start
        )

    @property
    def others(self) -> list[Any]:
        """The trainable weights that are no architecture weights."""
        chosen = {id(variable) for variable in self.architecture}
        return [v for v in self.network.trainable_variables if id(v) not in chosen]

    def reset_states(self) -> None:
        """Let stateful layers begin again."""
        for variable in (*self._states, *self._other_states):
            variable.assign(keras.ops.zeros_like(variable.value))

    def _exchange_states(self) -> None:
        """Change between the states along batches A and those along batches B."""
        for one, other in zip(self._states, self._other_states, strict=True):
            held = one.value + 0
            one.assign(keras.ops.cast(other.value, one.dtype))
            other.assign(held)

    def call(self, inputs, training=None):
        """Compute the network's outputs."""
        return self.network(inputs, training=training)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Load weights; the network gets the structure that they had before the optimizers, which follow it, are read."""
        parts = find_parts(self.network)
        if parts is not None and (state := structure_in(filepath)) is not None:
            parts.checkpoint.match(state)
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)

    def compile(self, optimizer, loss, **kwargs):
        """Configure training of the other weights; as `keras.Model.compile`."""
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        self.optimizer.build(self.others)

    def train_step(self, data):
        """One step on a batch A, the first half of the samples, and a batch B, the second half."""
        pair = keras.utils.unpack_x_y_sample_weight(data)[:2]
        first, second = (keras.tree.map_structure(half, pair) for half in (_first_half, _second_half))
        if self.schedule is None:
            self._move_architecture(first, second)
        outputs, loss, gradients = self.differentiate(first, self.others)
        squares = self._move_others(gradients)
        logs = {}
        if self.schedule is not None:
            due, state = self.schedule({name: v.value for name, v in self.scheduled.items()}, squares)
            for name, variable in self.scheduled.items():
                variable.assign(state[name])
            keras.ops.cond(due, lambda: self._move_architecture(first, second), lambda: keras.ops.zeros(()))
            shown = {name: v for name, v in self.scheduled.items() if name in self.schedule.shown}
            shown["alpha_steps"] = self.architecture_steps
            logs = {name: variable.value + 0 for name, variable in shown.items()}  # tensors, no variables
        self.steps.assign_add(1.0)
        self._loss_tracker.update_state(loss)
        return {**self.compute_metrics(first[0], first[1], outputs, None), **logs}

    def _move_others(self, gradients: Sequence[Any]) -> Any:
        """Step of the other weights; returns the sum of the squares of their gradients."""
        ops = keras.ops
        squares = sum(ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients)
        if self.clip_norm is not None:
            factor = ops.minimum(1.0, self.clip_norm / (ops.sqrt(squares) + 1e-6))
            gradients = [g * ops.cast(factor, g.dtype) for g in gradients]
        self.optimizer.apply(self._decayed(gradients, self.others, self.weight_decay), self.others)
        if self.after_step is not None:
            self.after_step()
        return squares

    def _decayed(self, gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> list[Any]:
        if not decay:
            return list(gradients)
        return [g + decay * ops_cast(v, g.dtype) for g, v in zip(gradients, variables, strict=True)]

    def _move_architecture(self, first: Any, second: Any) -> Any:
        """Step of the architecture weights; returns zero."""
        if self.architecture_optimizer is not None:
            if self.unrolled:
                gradients = unrolled_gradients(self, first, second)
            else:
                self._exchange_states()
                _, _, gradients = self.differentiate(second, self.architecture)
                self._exchange_states()
            gradients = [self._shuffled(g) for g in gradients]
            gradients = self._decayed(gradients, self.architecture, self.architecture_decay)
            if self.penalty is not None:
                added = self._penalty_gradients()
                gradients = [g + more for g, more in zip(gradients, added, strict=True)]
            self.architecture_optimizer.apply(gradients, self.architecture)
            self.architecture_steps.assign_add(1.0)
            if self.penalty is not None:
                state = self.penalty.update([v.value for v in self.penalized], self.architecture_steps.value)
                for variable, value in zip(self.penalized, state, strict=True):
                    variable.assign(value)
        return keras.ops.zeros(())

    def _penalty_gradients(self) -> list[Any]:
        clock = keras.ops.minimum(1.0, self.steps.value / keras.ops.maximum(self.total.value, 1.0))
        state = [variable.value for variable in self.penalized]
        penalty: Any = self.penalty
        return current().differentiate(lambda: (penalty(state, clock), 0), self.architecture)[2]

    def differentiate(self, batch: tuple[Any, Any], variables: list[Any]) -> tuple[Any, Any, list[Any]]:
        """Outputs, loss on inputs and targets, and gradients by some variables, in training mode."""
        x, y = batch

        def loss_of() -> tuple[Any, Any]:
            outputs = self.network(x, training=True)
            return self.compute_loss(x, y, outputs, None, training=True), outputs

        return current().differentiate(loss_of, variables)

    def _shuffled(self, gradient: Any) -> Any:
        return keras.random.shuffle(gradient, seed=self.seeds) if self.shuffle == "groups" else gradient


def ops_cast(variable: Any, dtype: Any) -> Any:
    """Value of a variable in another precision."""
    return keras.ops.cast(variable.value, dtype)


def _first_half(samples: Any) -> Any:
    return samples[: keras.ops.shape(samples)[0] // 2]


def _second_half(samples: Any) -> Any:
    return samples[keras.ops.shape(samples)[0] // 2 :]
