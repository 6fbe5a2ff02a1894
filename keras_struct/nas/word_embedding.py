"""Vectors of words that also decode: one matrix on both sides of a language model."""

from __future__ import annotations

from typing import Any

import keras

from keras_struct.core.structure.arguments import whole_number


@keras.saving.register_keras_serializable("keras_struct")
class WordEmbedding(keras.layers.Layer):
    """Turns words into vectors, and vectors into scores of words, with the same matrix.

    Called a second time with `decode=True` it multiplies with the transposed matrix and adds a bias.

    Args:
        vocabulary: Number of words.
        units: Number of units of their vectors.
        dropout: Share of the words that are left out in training, everywhere in a batch; not when decoding.
        **kwargs: As `keras.layers.Layer`.

    Call arguments:
        inputs: Numbers of words, `(batch, steps)`; vectors, `(batch, steps, units)`, to decode.
        decode: Whether to decode.

    Output shape:
        `(batch, steps, units)`; scores, not normalised, `(batch, steps, vocabulary)`.

    Raises:
        ValueError: If a number is out of range.

    References:
        Press, Wolf, *Using the Output Embedding to Improve Language Models*, EACL 2017; Gal, Ghahramani, *A Theoretically
        Grounded Application of Dropout in Recurrent Neural Networks*, NeurIPS 2016 (words left out).

    Examples:
        >>> words = layers.WordEmbedding(10, 4)
        >>> vectors = words(np.array([[1, 2, 3]]))
        >>> vectors.shape, words(vectors, decode=True).shape
        (TensorShape([1, 3, 4]), TensorShape([1, 3, 10]))
    """

    def __init__(self, vocabulary: int, units: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary, self.units = whole_number("vocabulary", vocabulary), whole_number("units", units)
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be from 0 up to 1. Received: dropout={dropout}")
        self.dropout = dropout
        self.seeds = keras.random.SeedGenerator()

    def build(self, input_shape):
        """Create the matrix, uniform in ±0.04 as published, and the bias of decoding."""
        start = keras.initializers.RandomUniform(-0.04, 0.04)
        self.embeddings = self.add_weight(name="embeddings", shape=(self.vocabulary, self.units), initializer=start)
        self.bias = self.add_weight(name="bias", shape=(self.vocabulary,), initializer="zeros")

    def call(self, inputs, decode=False, training=False):
        """Embed words, or decode vectors."""
        ops = keras.ops
        if decode:
            return ops.matmul(inputs, ops.transpose(self.embeddings)) + self.bias
        words = ops.cast(inputs, "int32")
        vectors = ops.take(self.embeddings, words, axis=0)
        if not (training and self.dropout):
            return vectors
        kept = keras.random.dropout(ops.ones((self.vocabulary,), vectors.dtype), self.dropout, seed=self.seeds)
        return vectors * ops.take(kept, words)[..., None]

    def compute_output_shape(self, input_shape, decode=False):
        """Return the output's shape."""
        return (*input_shape[:-1], self.vocabulary) if decode else (*input_shape, self.units)

    def compute_output_spec(self, inputs, decode=False, training=False):
        """Return shape and dtype of the output."""
        return keras.KerasTensor(self.compute_output_shape(tuple(inputs.shape), decode), self.compute_dtype)

    def get_config(self):
        """Return the arguments of the constructor."""
        own = {"vocabulary": self.vocabulary, "units": self.units, "dropout": self.dropout}
        return {**super().get_config(), **own}
