"""What every edit must hold to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_struct.core.backend import current, keras_internals
from keras_struct.core.model.parts import parts_of
from keras_struct.core.structure.edits import Resize
from keras_struct.core.structure.remap import NEW
from keras_struct.models import StructuralModel
from keras_struct.testing.preservation import outputs, relative_change

FURTHER_STEPS = 3


def check_edit(
    build: Callable[[], keras.Model],
    edit: Resize | Callable[[StructuralModel], Any],
    x: Any,
    y: Any,
    optimizer: Any = "adam",
    preserves: bool = True,
    tolerance: float = 1e-5,
) -> StructuralModel:
    """Check an edit in the middle of training, with everything that follows it.

    The function is kept (if `preserves`), kept entries of optimizer slots are bit-identical, every trainable variable is
    known to the optimizer and moves in the next steps, new units come to be read by every layer behind them, Keras's
    metadata agrees with the weights, and the model that is saved and loaded trains on with the same losses.

    Args:
        build: Returns a model, not compiled.
        edit: The edit, or a function that makes it on a `StructuralModel`.
        x: Inputs of one batch.
        y: Targets.
        optimizer: Anything that `compile` takes.
        preserves: Whether the edit keeps the function.
        tolerance: For relative changes of outputs and losses.

    Returns:
        The edited and further trained model.

    Raises:
        AssertionError: With what does not hold.
    """
    model = in_training(build, x, y, optimizer)
    check_edit_of(model, edit, x, y, preserves, tolerance)
    return model


def in_training(build: Callable[[], keras.Model], x: Any, y: Any, optimizer: Any = "adam") -> StructuralModel:
    """Return a model that has been trained for a few steps."""
    model = StructuralModel.from_model(build())
    model.compile(optimizer, "mse")
    for _ in range(3):
        model.train_on_batch(x, y)
    return model


def check_edit_of(
    model: StructuralModel,
    edit: Resize | Callable[[StructuralModel], Any],
    x: Any,
    y: Any,
    preserves: bool = True,
    tolerance: float = 1e-5,
) -> None:
    """Check an edit of a model in training, as `check_edit` does."""
    before, slots = outputs(model, x), _slots(model)
    event = model.apply(edit) if isinstance(edit, Resize) else edit(model)
    if preserves:
        change = relative_change(before, outputs(model, x))
        assert change <= tolerance, (
            f"an edit of axis '{event.axis}' that should keep the function changed the outputs by {change:.2g} of the largest"
        )
    _check_slots(model, slots)
    _check_metadata(model)
    _check_saved(model, x, y, tolerance)
    _check_movement(model, x, y)
    _check_new_units(model)


def _slots(model: Any) -> dict[int, tuple[Any, np.ndarray]]:
    return {id(slot.variable): (slot, current().read(slot.variable)) for slot in parts_of(model).editor.optimizer.slots}


def _check_slots(model: Any, before: dict[int, tuple[Any, np.ndarray]]) -> None:
    """Every old entry of a slot whose unit is kept is still there, bit for bit; the shape is that of the weight."""
    source = np.asarray(model.structure_log[-1].source)
    for slot, old in before.values():
        new = current().read(slot.variable)
        assert new.shape == tuple(slot.reference.shape), f"slot {slot.variable.path} has another shape than its weight"
        kept_all = set(range(model.structure_log[-1].before)) <= set(source.tolist())
        if kept_all and not slot.copies:
            missing = np.setdiff1d(old, new)
            assert not missing.size, f"{missing.size} entries of slot {slot.variable.path} are lost"


def _check_metadata(model: Any) -> None:
    assert model.count_params() == sum(int(np.prod(w.shape)) for w in model.weights)
    copy = keras.models.clone_model(model)
    for left, right in zip(copy.weights, model.weights, strict=True):
        assert tuple(left.shape) == tuple(right.shape), f"{right.path} has another shape in a clone"
    for layer, other in zip(model.layers, copy.layers, strict=True):
        assert tuple(layer.output.shape) == tuple(other.output.shape), (
            f"layer '{layer.name}' has another shape in a clone"
        )


def _check_saved(model: Any, x: Any, y: Any, tolerance: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(outputs(loaded, x)[0], outputs(model, x)[0], "a loaded model computes something else")
    loaded.run_eagerly = True  # sooner done than a trace of so few steps
    left = [float(loaded.train_on_batch(x, y)) for _ in range(FURTHER_STEPS)]
    own = [float(model.train_on_batch(x, y)) for _ in range(FURTHER_STEPS)]
    np.testing.assert_allclose(left, own, rtol=tolerance, err_msg="a loaded model trains on with other losses")


def _check_movement(model: Any, x: Any, y: Any) -> None:
    before = [keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables]
    for _ in range(3):
        model.train_on_batch(x, y)
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert (old != keras.ops.convert_to_numpy(variable.value)).any(), f"{variable.path} does not move any more"


def _check_new_units(model: Any) -> None:
    """Outgoing weights of new units, zero at first, are zero no longer: nothing on their way cuts them off."""
    event, graph = model.structure_log[-1], model.structure
    new = [i for i, old in enumerate(event.source) if old == NEW]
    for port, rule in graph.ports(event.axis).items() if new else ():
        if rule.role == "consume":
            variable = keras_internals.own_variables(parts_of(model).live.network.layers[port.layer])[port.variable]
            rows = np.moveaxis(current().read(variable), port.axis, 0)
            read = rows[np.isin(graph.unit_along(port, event.axis), new)]
            assert (read != 0).any(), (
                f"{port.key}: the new units of axis '{event.axis}' stay cut off. A factor on units that is zero for new ones has "
                "this effect: say in its unit rule what it begins with, AxisRule(..., new=1.0)"
            )
