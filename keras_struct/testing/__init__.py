"""Test batteries for layers, edits and policies of one's own, and random models to try them on."""

from keras_struct.testing.batteries import check_edit, check_initializer, check_layer, check_trigger
from keras_struct.testing.random_models import random_data, random_model

__all__ = ["check_edit", "check_initializer", "check_layer", "check_trigger", "random_data", "random_model"]
