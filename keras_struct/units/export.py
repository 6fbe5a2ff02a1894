"""Growable layers as stock ones."""

from __future__ import annotations

from functools import partial

import keras

from keras_struct.core.export.forms import PlainForm, register_plain_form
from keras_struct.core.export.plain import copied_plainly
from keras_struct.units.conv import GrowableConv1D, GrowableConv2D, GrowableConv3D
from keras_struct.units.dense import GrowableDense

register_plain_form(
    GrowableDense, PlainForm(partial(copied_plainly, kind=keras.layers.Dense, drop=("max_units",)), wrapped=True)
)
for growable, stock in (
    (GrowableConv1D, keras.layers.Conv1D),
    (GrowableConv2D, keras.layers.Conv2D),
    (GrowableConv3D, keras.layers.Conv3D),
):
    register_plain_form(growable, PlainForm(partial(copied_plainly, kind=stock, drop=("max_filters",)), wrapped=True))
