"""What Keras layers that prepare data do to units: they move channels together, or take them for something else."""

from __future__ import annotations

from typing import Any

from keras_struct.core.structure.behaviours import Behaviour, Opaque, Pinned
from keras_struct.core.structure.labels import Shape

SPATIAL = tuple(
    "Resizing CenterCrop RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom RandomShear RandomPerspective "
    "RandomElasticTransform RandomGaussianBlur RandomErasing RandomBrightness RandomContrast RandomInvert "
    "RandomPosterization Solarization CutMix".split()
)
"""Each channel of an image by itself, all of them alike."""

_COLOURS = (
    "RandomHue RandomSaturation RandomGrayscale RandomColorJitter RandomColorDegeneration RandomSharpness AutoContrast "
    "Equalization ContrastLimitedAdaptiveHistogramEqualization AugMix RandAugment MixUp"
).split()
_CATEGORIES = (
    "CategoryEncoding Discretization Hashing HashedCrossing IntegerLookup StringLookup TextVectorization"
).split()
_SOUND = ("MelSpectrogram", "STFTSpectrogram")
_FOREIGN = ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
_IN_FRONT = "put it in front of the first layer that makes units"


def refusals() -> dict[str, Any]:
    """Handlers of layers in which units have no meaning, by class name; each says why, and what to do."""
    return {
        **dict.fromkeys(_COLOURS, _pinned(f"takes channels for the colours of an image; {_IN_FRONT}")),
        **dict.fromkeys(_CATEGORIES, _pinned(f"takes numbers or words for categories; {_IN_FRONT}")),
        **dict.fromkeys(_SOUND, _pinned(f"takes its last axis for the samples of a sound; {_IN_FRONT}")),
        "MaxNumBoundingBoxes": _pinned(f"takes its last axis for the corners of boxes; {_IN_FRONT}"),
        "Pipeline": _pinned("runs other layers, of which nothing is known here; call these layers one after the other"),
        "Lambda": _opaque(
            "runs Python code that cannot be read; write it as a layer of your own and give that a method unit_rules(), or "
            "register it with keras_struct.register_unit_rules"
        ),
        **dict.fromkeys(
            _FOREIGN,
            _opaque(
                "runs code of another library, whose weights cannot be edited; keep it outside of the layers that change, or "
                "write it with layers of Keras"
            ),
        ),
    }


def _pinned(what: str) -> Any:
    def handler(layer: Any, inputs: list[Shape], outputs: list[Shape]) -> Behaviour:
        if len(outputs) == 1:
            return Pinned(_named(layer, what), outputs[0])
        return Opaque(_named(layer, what), tuple(outputs))

    return handler


def _opaque(what: str) -> Any:
    return lambda layer, inputs, outputs: Opaque(_named(layer, what), tuple(outputs))


def _named(layer: Any, what: str) -> str:
    return f"layer '{layer.name}' ({type(layer).__name__}) {what}"
