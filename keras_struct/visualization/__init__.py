"""Plots."""

from keras_struct.visualization.cells import (
    cell_dot,
    plot_collapse,
    plot_genotype,
    plot_operations,
    plot_schedule,
    save_genotype,
)
from keras_struct.visualization.curves import plot_comparison, plot_curves
from keras_struct.visualization.figures import png
from keras_struct.visualization.free import plot_adjacency, plot_coactivation, plot_edges, plot_graph
from keras_struct.visualization.structure import plot_structure
from keras_struct.visualization.symmetry import plot_mixtures, plot_population
from keras_struct.visualization.widths import plot_widths

__all__ = [
    "cell_dot",
    "plot_adjacency",
    "plot_coactivation",
    "plot_collapse",
    "plot_comparison",
    "plot_curves",
    "plot_edges",
    "plot_genotype",
    "plot_graph",
    "plot_mixtures",
    "plot_operations",
    "plot_population",
    "plot_schedule",
    "plot_structure",
    "plot_widths",
    "png",
    "save_genotype",
]
