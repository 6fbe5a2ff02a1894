"""Test batteries for layers, edits and policies of one's own, and random models to try them on."""

from keras_struct.testing.batteries import check_edit
from keras_struct.testing.layers import check_layer, example_layer
from keras_struct.testing.policies import (
    check_initializer,
    check_schedule,
    check_selector,
    check_strategy,
    check_trigger,
    example,
)
from keras_struct.testing.random_models import random_data, random_model

__all__ = [
    "check_edit",
    "check_initializer",
    "check_layer",
    "check_schedule",
    "check_selector",
    "check_strategy",
    "check_trigger",
    "example",
    "example_layer",
    "random_data",
    "random_model",
]
