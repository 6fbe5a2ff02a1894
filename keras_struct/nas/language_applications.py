"""Language models of a recurrent DARTS cell: to search in, and of a genotype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_struct.core.model.structural_model import StructuralModel
from keras_struct.nas.architecture import Activation, ArchitectureWeights
from keras_struct.nas.darts_rnn import DartsRNN
from keras_struct.nas.genotypes import ACTIVATIONS, RecurrentGenotype
from keras_struct.nas.word_embedding import WordEmbedding


def darts_language_supernet(
    vocabulary: int,
    units: int = 300,
    nodes: int = 8,
    activation: Activation = "softmax",
    operations: Sequence[str] | None = None,
    batch_size: int | None = None,
    dropout: float = 0.75,
    recurrent_dropout: float = 0.25,
    input_dropout: float = 0.75,
    embedding_dropout: float = 0.2,
    word_dropout: float = 0.0,
    temporal_regularization: float = 1e-3,
    name: str = "darts_language_supernet",
) -> StructuralModel:
    """Build a language model whose recurrent cell mixes all activations of all connections, for `search.Darts`.

    Args:
        vocabulary: Number of words.
        units: Number of units of vectors and states; 300 in the paper.
        nodes: Nodes of the cell.
        activation: As `layers.ArchitectureWeights`.
        operations: Names of the activations; by default all, without `none` for `"crb"`.
        batch_size: Sequences in a batch. If it is given, each goes on with the state that the one in its place before ended with.
        dropout: Share of the outputs of the cell that is left out, the same in all steps.
        recurrent_dropout: As `layers.DartsRNNCell`; so is the next.
        input_dropout: `dropout` there.
        embedding_dropout: Share of the entries of vectors that is left out, the same in all steps.
        word_dropout: `dropout` of `layers.WordEmbedding`.
        temporal_regularization: As `layers.DartsRNN`.
        name: Name of the model.

    Returns:
        A `StructuralModel` from numbers of words, `(batch, steps)`, to scores of the next ones, `(batch, steps, vocabulary)`, not
        normalised; its layer `alpha_recurrent` holds the weights of the activations.

    Raises:
        ValueError: If a number is out of range.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.1.2 and appendix A.1.2.

    >>> supernet = applications.darts_language_supernet(50, 4, nodes=2)
    >>> supernet(np.zeros((1, 3), "int32")).shape
    TensorShape([1, 3, 50])
    """
    if operations is None:
        operations = ACTIVATIONS[1:] if activation == "crb" else ACTIVATIONS
    words = keras.Input(batch_shape=(batch_size, None), dtype="int32", name="words")
    weights = ArchitectureWeights(nodes, operations, activation, inputs=1, kept=1, name="alpha_recurrent")(words)
    rnn = DartsRNN(
        units,
        nodes=nodes,
        operations=operations,
        dropout=input_dropout,
        recurrent_dropout=recurrent_dropout,
        stateful=batch_size is not None,
        temporal_regularization=temporal_regularization,
        name="rnn",
    )
    embedding = WordEmbedding(vocabulary, units, word_dropout, name="words_embedding")
    return _model(words, embedding, lambda x: rnn([x, weights]), embedding_dropout, dropout, name)


def darts_language_model(
    genotype: RecurrentGenotype | str,
    vocabulary: int,
    units: int = 850,
    batch_size: int | None = None,
    dropout: float = 0.75,
    recurrent_dropout: float = 0.25,
    input_dropout: float = 0.75,
    embedding_dropout: float = 0.2,
    word_dropout: float = 0.1,
    temporal_regularization: float = 1e-3,
    name: str = "darts_language_model",
) -> StructuralModel:
    """Build the language model of a recurrent genotype, with fresh weights.

    Args:
        genotype: What was found, or its text.
        vocabulary: As `darts_language_supernet`; so are all that follow.
        units: 850 in the paper.
        batch_size: Of each batch, if states are carried.
        dropout: Of outputs.
        recurrent_dropout: Of states.
        input_dropout: Of inputs of the cell.
        embedding_dropout: Of vectors.
        word_dropout: Of words.
        temporal_regularization: Of outputs.
        name: Name of the model.

    Returns:
        A `StructuralModel`.

    Raises:
        ValueError: If the genotype is none, or a number is out of range.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019, section 3.3 and appendix A.3.2.

    >>> model = applications.darts_language_model(search.DARTS_RNN_V2, 50, 4)
    >>> model.count_params()
    570
    """
    found = RecurrentGenotype.parse(genotype) if isinstance(genotype, str) else genotype
    words = keras.Input(batch_shape=(batch_size, None), dtype="int32", name="words")
    rnn = DartsRNN(
        units,
        found.recurrent,
        found.concat,
        dropout=input_dropout,
        recurrent_dropout=recurrent_dropout,
        stateful=batch_size is not None,
        temporal_regularization=temporal_regularization,
        name="rnn",
    )
    embedding = WordEmbedding(vocabulary, units, word_dropout, name="words_embedding")
    return _model(words, embedding, rnn, embedding_dropout, dropout, name)


def _model(words: Any, embedding: Any, rnn: Any, before: float, behind: float, name: str) -> StructuralModel:
    """Vectors through a recurrent layer and back; what is left out is the same in all steps."""
    x = embedding(words)
    x = keras.layers.SpatialDropout1D(before, name="embedding_dropout")(x) if before else x
    x = rnn(x)
    x = keras.layers.SpatialDropout1D(behind, name="output_dropout")(x) if behind else x
    return StructuralModel(words, embedding(x, decode=True), name=name)
