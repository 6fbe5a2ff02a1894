"""What is measured: directions that activations use, units that would add one, and what a network costs."""

# Imported here and not on first use: some functions carry the name of their module, which a later import of that module
# would put in their place. None of these modules imports Keras or a backend before it has a model to look at.
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.measure.statistics.candidates import Border, CandidateScorer, border
from keras_struct.measure.statistics.effective_dimension import (
    effective_dimension,
    gram,
    numerical_rank,
    rank_of_gram,
    rank_of_weights,
)
from keras_struct.measure.statistics.flops import (
    flops,
    flops_per_layer,
    parameters,
    parameters_per_layer,
    register_flops,
)
from keras_struct.measure.statistics.gradients import (
    auxiliary_gradient,
    convolutional_auxiliary_gradient,
    fisher_trace,
    nuclear_norm,
    unit_gradient_norms,
)
from keras_struct.measure.statistics.orthogonality_gap import gap_of_gram, orthogonality_gap
from keras_struct.sparse.coactivation import Coactivation, coactivation, coinactivation

__all__ = [
    "Border",
    "CandidateScorer",
    "Coactivation",
    "MeasurementError",
    "auxiliary_gradient",
    "border",
    "coactivation",
    "coinactivation",
    "convolutional_auxiliary_gradient",
    "effective_dimension",
    "fisher_trace",
    "flops",
    "flops_per_layer",
    "gap_of_gram",
    "gram",
    "nuclear_norm",
    "numerical_rank",
    "orthogonality_gap",
    "parameters",
    "parameters_per_layer",
    "rank_of_gram",
    "rank_of_weights",
    "register_flops",
    "unit_gradient_norms",
]
