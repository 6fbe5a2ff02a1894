"""What every layer whose units can be edited must hold to."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from keras_struct.core.export.forms import plain_form
from keras_struct.core.export.plain import leaves
from keras_struct.core.structure.capabilities import ExportsPlain
from keras_struct.measure.statistics.flops import flops
from keras_struct.measure.statistics.flops_registry import rule_for
from keras_struct.models import StructuralModel
from keras_struct.testing.batteries import check_edit_of, in_training
from keras_struct.testing.preservation import outputs, relative_change
from keras_struct.testing.wrong_roles import wrong_roles

SHAPES = ((5,), (4, 5), (6, 6, 4), (4, 4, 4, 3))
"""Shapes of inputs, without batch, that a layer is tried on: features, sequences, images, volumes."""
ENTERING, READING = "units_before", "units_behind"
"""Layers around one that is checked."""
TOLERANCE = 1e-5
MIXING = (
    "If the layer computes something of all its units together, such as their mean, no edit can keep the function: say so with "
    "an attribute, mixes = 'normalises over its units'"
)


def example_layer(kind: type[keras.layers.Layer]) -> keras.layers.Layer:
    """Return a layer of a class: with its defaults, and small whole numbers for arguments that have none.

    Args:
        kind: The class.

    Raises:
        TypeError: If it cannot be made so.
    """
    given = {name: 3 if name.endswith("size") else 4 for name in _required(kind)}
    try:
        return kind(**given)
    except Exception as error:
        raise TypeError(
            f"{kind.__name__} cannot be made with {given}: {error}. Give its arguments defaults, or pass an instance."
        ) from error


def _required(kind: type) -> Iterator[str]:
    """Names of the arguments of a constructor that have no default; those behind `*args` are the base class's."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        yield from (p.name for p in parameters if p.kind in named and p.default is p.empty)
        if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
            return


def check_layer(
    layer: keras.layers.Layer | type[keras.layers.Layer],
    input_shape: tuple[int, ...] | None = None,
    reads: bool = True,
) -> None:
    """Check a layer that makes units: its units come, split and go, it follows units that enter it, and is saved.

    Where an edit changes what the model computes though it should not, other roles of the unit rules are tried, and the
    message says with which of them it would not. If the layer has `plain_layer()` or counts its operations, these are checked
    too: the exported network must compute the same, and twice the batch take twice the operations.

    Args:
        layer: A new layer of your own with `unit_rules`, or registered with `register_unit_rules`; or its class, of which one
            is made with small numbers for arguments without default.
        input_shape: Shape of its input without the batch axis; by default the first of `(5,)`, `(4, 5)`, `(6, 6, 4)` and
            `(4, 4, 4, 3)` that it can be called on.
        reads: Whether units that enter it by the last axis can be edited, too, which takes a rule of role `"consume"`. Units
            of a layer that are tied to its input are edited together with those that enter.

    Raises:
        AssertionError: With what does not hold.
        ValueError: If `input_shape` is not fully known, or the layer can be called on none of the shapes that are tried.
        TypeError: If a layer of the class cannot be made.
    """
    layer = example_layer(layer) if isinstance(layer, type) else layer
    input_shape = _shape_for(layer) if input_shape is None else tuple(input_shape)
    if None in input_shape:
        raise ValueError(
            f"The layer is called on random numbers, whose shape must be known. Received: input_shape={input_shape}. Put numbers "
            "in the place of None."
        )
    kind = f"layer '{layer.name}' ({type(layer).__name__})"
    build = _network_around(layer, input_shape, reads)
    _check_made_again(build, kind)
    graph = StructuralModel.from_model(build()).structure
    assert _own_axis(graph) is not None, (
        f"{kind} makes no units that can be edited: give it a unit rule of role 'produce'. Fixed are {dict(graph.locked)}"
    )
    assert not reads or ENTERING in graph.axes, (
        f"units that enter {kind} cannot be edited: {graph.locked.get(ENTERING)}. "
        "Give it a rule of role 'consume' for the axis that reads them, or pass reads=False if that is meant"
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, *input_shape)).astype("float32"), rng.standard_normal((8, 1)).astype("float32")
    with _named(f"{kind}: "):
        _check_plain(layer, build, x)
        _check_operations(layer, build)
    model = in_training(build, x, y)
    for what, edit, keeps in _edits(graph, reads):
        with _named(f"{what} {kind}: "), _blaming(lambda: wrong_roles(layer, build, x, y), keeps):
            check_edit_of(model, edit, x, y, preserves=keeps)


def _shape_for(layer: Any) -> tuple[int, ...]:
    """The first shape that a layer can be called on."""
    for shape in SHAPES:
        try:
            _copy_of(layer)(keras.Input(shape))
        except Exception:  # whatever it does not like
            continue
        return shape
    raise ValueError(
        f"Layer '{layer.name}' ({type(layer).__name__}) can be called on none of {SHAPES}: pass `input_shape`, without batch."
    )


def _copy_of(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _network_around(layer: Any, input_shape: tuple[int, ...], reads: bool) -> Callable[[], keras.Model]:
    """What builds a small network with a copy of a layer in it."""
    config = keras.saving.serialize_keras_object(layer)

    def build() -> keras.Model:
        inputs = keras.Input(input_shape)
        copy = keras.saving.deserialize_keras_object(config)
        dense = keras.layers.Dense(input_shape[-1], activation="tanh", name=ENTERING)
        found = keras.layers.Flatten()(copy(dense(inputs) if reads else inputs))
        return keras.Model(inputs, keras.layers.Dense(1, name=READING)(found))

    return build


def _check_made_again(build: Callable[[], keras.Model], kind: str) -> None:
    """A layer is made again from its configuration, as it is when a model is loaded."""
    try:
        build()
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{kind} cannot be made again from its configuration, and called, as a model is when it is loaded: decorate its "
            "class with @keras.saving.register_keras_serializable('my_package'), and return all arguments of its constructor "
            f"from get_config. {error}"
        ) from error


def _edits(graph: Any, reads: bool) -> Iterator[tuple[str, Callable[[StructuralModel], Any], bool]]:
    """What is edited, how, and whether the function is kept: where nothing mixes the units."""
    own = _own_axis(graph)
    keeps = graph.units[own].mixes is None
    if reads and own != ENTERING:
        before = graph.units[ENTERING].mixes is None
        yield "units added before", lambda model: model.grow(ENTERING, 2, preserve=False), before
    yield "units added to", lambda model: model.grow(_own_axis(model.structure), 2, preserve=False), keeps
    yield "a unit split in", lambda model: model.split(_own_axis(model.structure), [0], preserve=False), keeps
    yield "a unit removed from", lambda model: model.prune(_own_axis(model.structure), [0], preserve=False), False


@contextmanager
def _blaming(blame: Callable[[], str | None], keeps: bool) -> Iterator[None]:
    """Say what is to blame where an edit is refused, or changes the function."""
    try:
        yield
    except ValueError as error:
        raise AssertionError(f"the edit is refused: {error}") from error
    except AssertionError as error:
        if not keeps:
            raise
        found = blame()
        raise AssertionError(f"{error}. {MIXING if found is None else found}") from error


@contextmanager
def _named(prefix: str) -> Iterator[None]:
    """Say what was checked where a check fails."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{prefix}{error}") from error


def _own_axis(graph: Any) -> Any:
    """The axis of the units that the layer makes, which is called something else each time if its name is not saved."""
    others = {ENTERING, READING}
    made = (a for a in graph.units.values() if any(layer not in others for layer, _ in a.producers))
    return next((axis.name for axis in made if axis.locked is None), None)


def _check_plain(layer: Any, build: Callable[[], keras.Model], x: Any) -> None:
    """What stands for a layer in an exported network computes the same, at a width that an edit gave it."""
    if not isinstance(layer, ExportsPlain) and plain_form(layer) is None:
        return
    model = StructuralModel.from_model(build())
    model.grow(_own_axis(model.structure), 1, preserve=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = model.to_plain()
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the network cannot be exported: {error}") from error
    assert not any(type(leaf) is type(layer) for leaf in leaves(plain)), "an exported network still has it in it"
    change = relative_change(outputs(model, x), outputs(plain, x))
    assert change <= TOLERANCE, (
        f"in stock layers the network computes something else: the outputs differ by {change:.2g}"
    )


def _check_operations(layer: Any, build: Callable[[], keras.Model]) -> None:
    """Operations are counted as a whole number, of the whole batch."""
    if rule_for(layer) is None:
        return
    model = build()
    try:
        one, two = (flops(model, batch_size=size, unknown="zero") for size in (1, 2))
    except TypeError as error:
        raise AssertionError(str(error)) from error
    assert two == 2 * one, f"twice the batch must take twice the operations: {one} for one sample, {two} for two"
