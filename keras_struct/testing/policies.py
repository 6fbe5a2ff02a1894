"""What every trigger, initializer, selector, schedule and strategy must hold to."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, replace
from typing import Any, NoReturn, TypeVar, get_origin, get_type_hints

import keras
import numpy as np

from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.initializers import Initializer, RandomFanIn
from keras_struct.measure.measurements.axis import no_inputs
from keras_struct.measure.measurements.gradients import AxisGradients
from keras_struct.measurements import AxisMeasurement, ConnectionMeasurement
from keras_struct.models import StructuralModel
from keras_struct.policies.policy import Policy, check_state, pack, unpack
from keras_struct.policies.strategy import Strategy
from keras_struct.policies.trigger import checked_answer
from keras_struct.schedules import AmountSchedule, EveryNSteps, Linear, Once, Schedule, SparsitySchedule
from keras_struct.selectors import ConnectionSelector, Selector, SmallestNorm, WeightMagnitude
from keras_struct.strategies import Grow, Prune
from keras_struct.triggers import FractionOfWidth, Trigger

T = TypeVar("T")
EXAMPLES: dict[Any, Any] = {
    int: 4,
    float: 0.5,
    Trigger: FractionOfWidth(),
    Initializer: RandomFanIn(),
    Selector: SmallestNorm(),
    ConnectionSelector: WeightMagnitude(),
    Schedule: EveryNSteps(1),
    AmountSchedule: Linear(4, 4),
    SparsitySchedule: Once(0.5),
    Grow: Grow(FractionOfWidth()),
    Prune: Prune(FractionOfWidth()),
}
"""A value for each type that a hyperparameter without default may have."""
LAST_STEP = 10_000
STEPS = 3


def example(kind: type[Policy]) -> Policy:
    """Return a policy of a class: with its defaults, and small values where there are none.

    Args:
        kind: The class.

    Raises:
        TypeError: If it cannot be made so, because a hyperparameter has no default and is no number or policy.

    >>> from keras_struct import schedules
    >>> example(schedules.Linear)
    Linear(units=4, steps=4)
    """
    hints = get_type_hints(kind)
    required = {f.name: hints[f.name] for f in fields(kind) if f.init and _required(f)}
    given = {name: EXAMPLES.get(get_origin(hint) or hint) for name, hint in required.items()}
    if missing := sorted(name for name, value in given.items() if value is None):
        raise TypeError(
            f"{kind.__name__} needs {missing}, for which there is no example: give them defaults, or pass an instance."
        )
    try:
        return kind(**given)
    except ValueError:  # it needs one of several things that are None by default
        if "trigger" not in hints:
            raise
        return kind(**{**given, "trigger": FractionOfWidth()})


def _required(f: Any) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def check_trigger(trigger: Trigger, measured: AxisMeasurement) -> None:
    """Check a trigger on a measurement: whole numbers, state passed in and out, hyperparameters and state that can be saved.

    Args:
        trigger: The trigger.
        measured: What `model.measure(axis)` returns, or an `AxisMeasurement` made by hand, of what the trigger reads.

    Raises:
        AssertionError: With what does not hold.
    """
    measured, name = _as_in_training(trigger, measured), type(trigger).__name__
    state = trigger.init(measured)
    with _failing(TypeError, ValueError):
        check_state(trigger, state, "to start from")
    kept = copy.deepcopy(state)
    answers = [trigger(measured, state) for _ in range(2)]
    with _failing(TypeError, ValueError):
        first, second = (checked_answer(trigger, answer, measured.axis, "add or remove") for answer in answers)
    assert state == kept, f"{name} must not change the state that it is given, but return a new one"
    assert first == second, f"{name} must give the same answer to the same measurement and state: {first} and {second}"
    _check_json(first[1], "the state of a trigger")
    _check_packed(trigger)


def check_initializer(initializer: Initializer, measured: AxisMeasurement, count: int = 2) -> None:
    """Check an initializer on a measurement: finite weights of the right number, repeatable, that can be saved.

    Args:
        initializer: The initializer.
        measured: What `model.measure(axis)` returns.
        count: How many units to ask for.

    Raises:
        AssertionError: With what does not hold.
    """
    measured = _as_in_training(initializer, measured)
    with _failing(TypeError):
        first, again = (initializer.propose(measured, count, np.random.default_rng(0)) for _ in range(2))
    if first is not None:
        assert measured.units < len(first.source) <= measured.units + count, "too many units, or none"
        for key, array in (*first.values.items(), *first.shift.items()):
            assert np.isfinite(array).all(), f"weights for {key} are not finite"
        _check_entries(first, measured)
    assert first == again, "the same seed must give the same weights"
    _check_packed(initializer)


def _check_entries(edit: Resize, measured: AxisMeasurement) -> None:
    """What is given for new units belongs to variables of their axis, has their shape, and lets them train."""
    new = len(edit.new_units)
    expected = measured.entries(new)
    for key, array in edit.values.items() if expected else ():
        assert key in expected, f"weights for '{key}', which is no variable of the axis: expected {sorted(expected)}"
        assert array.shape == expected[key], (
            f"weights for '{key}' have shape {array.shape}: expected {expected[key]}, the entries of {new} new units only. "
            "`expand` of a FanIn or FanOut returns this shape for (..., units) and (units, positions, ...)"
        )
    feeding = [array for key, array in edit.values.items() if array.ndim > 1]
    assert not new or any(array.any() for array in feeding), (
        "new units get neither incoming nor outgoing weights, so that they never train"
    )


def check_selector(selector: Selector | ConnectionSelector, measured: AxisMeasurement | ConnectionMeasurement) -> None:
    """Check a selector on a measurement: a finite saliency of each unit or connection, units in one order, repeatable.

    Args:
        selector: The selector.
        measured: What `model.measure(axis)` returns; for a `ConnectionSelector` one of `model.measure_connections()`.

    Raises:
        AssertionError: With what does not hold.
        TypeError: If one is of units and the other of connections.
    """
    _check_packed(selector)
    if isinstance(selector, ConnectionSelector) and isinstance(measured, ConnectionMeasurement):
        _check_connections(selector, measured)
    elif isinstance(selector, Selector) and isinstance(measured, AxisMeasurement):
        _check_units(selector, _as_in_training(selector, measured))
    else:
        raise TypeError(
            "A Selector is checked on an AxisMeasurement, `model.measure(axis)`, and a ConnectionSelector on a "
            f"ConnectionMeasurement, `model.measure_connections()[layer]`. Received: {selector!r} and a "
            f"{type(measured).__name__}."
        )


def _check_connections(selector: ConnectionSelector, measured: ConnectionMeasurement) -> None:
    with _failing(TypeError, MeasurementError):
        first, again = (selector.checked_scores(measured, np.random.default_rng(0)) for _ in range(2))
    assert (first == again).all(), "the same seed must give the same saliencies"


def _check_units(selector: Selector, measured: AxisMeasurement) -> None:
    with _failing(TypeError, MeasurementError):
        selector.checked_scores(measured)
    order = selector(measured, measured.units - 1)
    assert order == selector(measured, measured.units - 1), "the same measurement must give the same units"
    assert len({*order}) == measured.units - 1, f"units are selected twice: {order}"
    assert {*order} <= {*range(measured.units)}, f"units that are not there are selected: {order}"
    assert selector(measured, 1) == order[:1], "the first unit to go must not depend on how many go"
    assert selector.propose(measured, 1).source == tuple(u for u in range(measured.units) if u != order[0])


def check_schedule(schedule: Schedule | SparsitySchedule, steps: int = 200) -> None:
    """Check a schedule: answers of one kind for each step, the same each time, no negative ones.

    Args:
        schedule: A `Schedule`, which says when, an `AmountSchedule`, which says how many units, or a `SparsitySchedule`, which
            says which share.
        steps: How many gradient steps to ask about.

    Raises:
        AssertionError: With what does not hold.
    """
    _check_packed(schedule)
    if isinstance(schedule, SparsitySchedule):
        shares = [share for share in _answers(schedule, steps) if share is not None]
        assert all(0 <= share < 1 for share in shares), f"shares must lie between 0 and 1: {shares}"
        return
    answers = _answers(schedule, steps)
    assert len({type(answer) for answer in answers}) == 1, "a schedule says whether (bool) or how many (int), not both"
    try:
        due = [schedule.due(step) for step in range(1, steps + 1)]
    except (TypeError, ValueError) as error:
        raise AssertionError(str(error)) from error
    assert due == [bool(answer) for answer in answers], "what is due must be what the schedule answers"


def _answers(schedule: Callable[[int], T], steps: int) -> list[T]:
    """What a schedule says at each step."""
    answers = [schedule(step) for step in range(1, steps + 1)]
    assert answers == [schedule(step) for step in range(1, steps + 1)], "the same step must give the same answer"
    assert any(answers), f"nothing is ever due in {steps} steps"
    return answers


def check_strategy(strategy: Strategy, build: Callable[[], StructuralModel], x: Any, y: Any) -> StructuralModel:
    """Check a strategy in training: it looks at a step that is due, edits alike each time, and goes on after loading.

    Args:
        strategy: The strategy.
        build: Returns a `StructuralModel` that it can work on, not compiled, the same each time.
        x: Inputs of one batch.
        y: Targets.

    Returns:
        The trained model.

    Raises:
        AssertionError: With what does not hold.
    """
    _check_packed(strategy)
    due = next((step for step in range(STEPS + 1, LAST_STEP) if strategy.due(step)), None)
    assert due is not None, f"nothing is due in {LAST_STEP} steps"
    assert strategy.due(due, due - 2), "what is due in between must be due when it is requested later"
    model, twin = (_trained(strategy, build, x, y, due) for _ in range(2))
    one, other = ([(e.axis, e.before, e.after, e.source, e.edit) for e in m.structure_log] for m in (model, twin))
    assert one == other, f"the same seed must give the same edits: {one} and {other}"
    state = parts_of(model).runner.policy_state
    assert state == parts_of(twin).runner.policy_state, "the same seed must give the same state"
    _check_json(state, "the state of a strategy")
    for left, right in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right, "the same seed must give the same weights")
    assert np.isfinite(model.train_on_batch(x, y)), "the loss is not finite after the edits"
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
    assert parts_of(again).runner.strategy == strategy, "a loaded model has another strategy"
    return model


def _trained(strategy: Strategy, build: Callable[[], StructuralModel], x: Any, y: Any, due: int) -> StructuralModel:
    """A model that is trained for a few steps, and whose strategy looks at step `due`."""
    keras.utils.set_random_seed(0)
    model = build()
    probe = {"probe": x} if strategy.needs_inputs or strategy.needs_gradients else {}
    targets = {"targets": y} if strategy.needs_gradients else {}
    model.compile("sgd", "mse", strategy=strategy, run_eagerly=True, **probe, **targets)
    parts_of(model).runner.begin()
    for _ in range(STEPS):
        logs = model.train_on_batch(x, y, return_dict=True)
    parts_of(model).progress.step = due - 1
    model.structural_step(x, logs, targets=y)
    return model


@contextmanager
def _failing(*errors: type[Exception]) -> Iterator[None]:
    """Fail with the message of an error that the library raises where a policy is used."""
    try:
        yield
    except errors as error:
        raise AssertionError(str(error)) from error


def _as_in_training(policy: Trigger | Selector | Initializer, measured: AxisMeasurement) -> AxisMeasurement:
    """A measurement without what is only there in training for policies that ask for it."""
    missing: dict[str, Any] = {}
    if not policy.needs_inputs:
        unkept = _not_kept(policy, "activations", "needs_inputs")
        missing |= {f.name: unkept for f in fields(AxisMeasurement) if f.default is no_inputs}
    if not policy.needs_gradients:
        missing["gradients"] = AxisGradients(_not_kept(policy, "gradients", "needs_gradients"), measured.axis)
    return replace(measured, **missing)


def _not_kept(policy: Policy, what: str, attribute: str) -> Callable[..., NoReturn]:
    def fail(*args: object) -> NoReturn:
        raise AssertionError(
            f"{type(policy).__name__} looks at {what}, which are there in training only if it says so: "
            f"{attribute}: ClassVar[bool] = True"
        )

    return fail


def _check_packed(policy: Policy) -> None:
    data = json.loads(json.dumps(pack(policy)))
    assert unpack(data) == policy, "hyperparameters must survive saving"


def _check_json(state: object, what: str) -> None:
    """A state is saved as JSON, which knows lists and dictionaries with names."""
    try:
        text = json.dumps(state)
    except TypeError as error:
        raise AssertionError(f"{what} must be made of numbers, strings, lists and dictionaries: {error}") from error
    assert json.dumps(json.loads(text)) == text, f"{what} must survive saving as JSON: {state}"
