"""Layers that do nothing but in training."""

from __future__ import annotations

from typing import Any

import keras

L = keras.layers
NEUTRAL: tuple[type, ...] = (
    L.ActivityRegularization,
    L.AlphaDropout,
    L.AugMix,
    L.AutoContrast,
    L.CutMix,
    L.Dropout,
    L.GaussianDropout,
    L.GaussianNoise,
    L.MixUp,
    L.RandAugment,
    L.RandomBrightness,
    L.RandomColorDegeneration,
    L.RandomColorJitter,
    L.RandomContrast,
    L.RandomElasticTransform,
    L.RandomErasing,
    L.RandomFlip,
    L.RandomGaussianBlur,
    L.RandomGrayscale,
    L.RandomHue,
    L.RandomInvert,
    L.RandomPerspective,
    L.RandomPosterization,
    L.RandomRotation,
    L.RandomSaturation,
    L.RandomSharpness,
    L.RandomShear,
    L.RandomTranslation,
    L.RandomZoom,
    L.SpatialDropout1D,
    L.SpatialDropout2D,
    L.SpatialDropout3D,
)
"""Layers that pass on their input outside of training. `RandomCrop` is none: it crops the middle then."""


class Passing:
    """Stands in a graph for a layer that is left out.

    Args:
        layer: The layer.
    """

    def __init__(self, layer: Any) -> None:
        self.name = layer.name
        self._dtype = layer.compute_dtype

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the inputs, as numbers of the layer's type if they are whole numbers."""

        def converted(x: Any) -> Any:
            same = keras.backend.is_float_dtype(x.dtype) or keras.backend.standardize_dtype(x.dtype) == self._dtype
            return x if same else keras.ops.cast(x, self._dtype)

        return keras.tree.map_structure(converted, inputs)
