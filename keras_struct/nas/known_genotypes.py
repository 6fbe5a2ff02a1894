"""Genotypes of the literature."""

from __future__ import annotations

from keras_struct.nas.genotypes import Genotype, RecurrentGenotype

NASNET = Genotype(
    normal=(
        *(("sep_conv_5x5", 1), ("sep_conv_3x3", 0)),
        *(("sep_conv_5x5", 0), ("sep_conv_3x3", 0)),
        *(("avg_pool_3x3", 1), ("skip_connect", 0)),
        *(("avg_pool_3x3", 0), ("avg_pool_3x3", 0)),
        *(("sep_conv_3x3", 1), ("skip_connect", 1)),
    ),
    normal_concat=(2, 3, 4, 5, 6),
    reduce=(
        *(("sep_conv_5x5", 1), ("sep_conv_7x7", 0)),
        *(("max_pool_3x3", 1), ("sep_conv_7x7", 0)),
        *(("avg_pool_3x3", 1), ("sep_conv_5x5", 0)),
        *(("skip_connect", 3), ("avg_pool_3x3", 2)),
        *(("sep_conv_3x3", 2), ("max_pool_3x3", 1)),
    ),
    reduce_concat=(4, 5, 6),
)
"""Zoph et al., *Learning Transferable Architectures for Scalable Image Recognition*, CVPR 2018, as the DARTS authors list it."""
AMOEBANET = Genotype(
    normal=(
        *(("avg_pool_3x3", 0), ("max_pool_3x3", 1)),
        *(("sep_conv_3x3", 0), ("sep_conv_5x5", 2)),
        *(("sep_conv_3x3", 0), ("avg_pool_3x3", 3)),
        *(("sep_conv_3x3", 1), ("skip_connect", 1)),
        *(("skip_connect", 0), ("avg_pool_3x3", 1)),
    ),
    normal_concat=(4, 5, 6),
    reduce=(
        *(("avg_pool_3x3", 0), ("sep_conv_3x3", 1)),
        *(("max_pool_3x3", 0), ("sep_conv_7x7", 2)),
        *(("sep_conv_7x7", 0), ("avg_pool_3x3", 1)),
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        *(("conv_7x1_1x7", 0), ("sep_conv_3x3", 5)),
    ),
    reduce_concat=(3, 4, 6),
)
"""Real et al., *Regularized Evolution for Image Classifier Architecture Search*, AAAI 2019, as the DARTS authors list it."""
DARTS_V1 = Genotype(
    normal=(
        *(("sep_conv_3x3", 1), ("sep_conv_3x3", 0)),
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("skip_connect", 2)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        *(("skip_connect", 2), ("max_pool_3x3", 0)),
        *(("max_pool_3x3", 0), ("skip_connect", 2)),
        *(("skip_connect", 2), ("avg_pool_3x3", 0)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
"""Liu, Simonyan, Yang, ICLR 2019: first-order search on CIFAR-10."""
DARTS_V2 = Genotype(
    normal=(
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 1), ("skip_connect", 0)),
        *(("skip_connect", 0), ("dil_conv_3x3", 2)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        *(("skip_connect", 2), ("max_pool_3x3", 1)),
        *(("max_pool_3x3", 0), ("skip_connect", 2)),
        *(("skip_connect", 2), ("max_pool_3x3", 1)),
    ),
    reduce_concat=(2, 3, 4, 5),
)
"""Liu, Simonyan, Yang, ICLR 2019: second-order search on CIFAR-10."""
DARTS_RNN_V1 = RecurrentGenotype(
    (
        *(("relu", 0), ("relu", 1), ("tanh", 2), ("relu", 3)),
        *(("relu", 4), ("identity", 1), ("relu", 5), ("relu", 1)),
    ),
    tuple(range(1, 9)),
)
"""Liu, Simonyan, Yang, ICLR 2019: first-order search on Penn Treebank."""
DARTS_RNN_V2 = RecurrentGenotype(
    (
        *(("sigmoid", 0), ("relu", 1), ("relu", 1), ("identity", 1)),
        *(("tanh", 2), ("sigmoid", 5), ("tanh", 3), ("relu", 5)),
    ),
    tuple(range(1, 9)),
)
"""Liu, Simonyan, Yang, ICLR 2019: second-order search on Penn Treebank."""
ENAS_RNN = RecurrentGenotype(
    (
        *(("tanh", 0), ("tanh", 1), ("relu", 1), ("tanh", 3), ("tanh", 3), ("relu", 3)),
        *(("relu", 4), ("relu", 7), ("relu", 8), ("relu", 8), ("relu", 8)),
    ),
    (2, 5, 6, 9, 10, 11),
)
"""Pham et al., *Efficient Neural Architecture Search via Parameter Sharing*, ICML 2018, as the DARTS authors list it."""
KNOWN = {
    "DARTS_V1": DARTS_V1,
    "DARTS_V2": DARTS_V2,
    "NASNet": NASNET,
    "AmoebaNet": AMOEBANET,
    "DARTS_RNN_V1": DARTS_RNN_V1,
    "DARTS_RNN_V2": DARTS_RNN_V2,
    "ENAS_RNN": ENAS_RNN,
}
"""Genotypes of the literature by name."""
