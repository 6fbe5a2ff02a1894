"""What belongs to a model whose structure changes, beside Keras."""

from __future__ import annotations

from typing import Any

from keras_struct import registration
from keras_struct.core.model.checkpoint import StructureCheckpoint
from keras_struct.core.model.editor import StructureEditor
from keras_struct.core.model.live_network import LiveNetwork
from keras_struct.core.model.observation import Observation
from keras_struct.core.model.progress import TrainingProgress
from keras_struct.core.model.runner import StrategyRunner


class StructuralParts:
    """What edits a Keras model, runs its strategy, and saves both.

    They belong to a `StructuralModel`, or to the callback `StructuralTraining` for a plain Keras model.

    Attributes:
        progress: How far the model has been trained.
        live: Its network.
        observation: What is measured of it.
        editor: Edits it.
        runner: Runs its strategy.
        checkpoint: Saves structure and state.

    Args:
        model: A built Functional or Sequential model.
    """

    def __init__(self, model: Any) -> None:
        registration.import_features()
        self.model = model
        self.progress = TrainingProgress()
        self.live = LiveNetwork(model)
        self.observation = Observation(self.live)
        self.editor = StructureEditor(self.live, self.observation, self.progress)
        self.runner = StrategyRunner(self.editor)
        self.checkpoint = StructureCheckpoint(self.editor, self.runner)


def parts_of(model: Any) -> StructuralParts:
    """Return what belongs to a structural model.

    Raises:
        TypeError: If it is none.
    """
    if (found := find_parts(model)) is None:
        raise TypeError(
            f"Expected a StructuralModel. Received: {model!r}. Convert a Keras model with StructuralModel.from_model(model)."
        )
    return found


def find_parts(model: Any) -> StructuralParts | None:
    """Return what belongs to a structural model, `None` for anything else."""
    return getattr(model, "_structural", None)


def parts_behind(held: Any) -> StructuralParts | None:
    """Return what belongs to the model of a history or of a `StructuralTraining`, or to a model itself; `None` for others."""
    own = getattr(held, "parts", None)
    return own if isinstance(own, StructuralParts) else find_parts(getattr(held, "model", held))
