"""Plots."""

from keras_struct.freenets.plots import plot_adjacency, plot_coactivation, plot_edges, plot_graph
from keras_struct.nas.plots import cell_dot, plot_collapse, plot_genotype, plot_operations, plot_schedule, save_genotype
from keras_struct.report.curves import plot_comparison, plot_curves
from keras_struct.report.figures import png
from keras_struct.report.structure import plot_structure
from keras_struct.report.widths import plot_widths
from keras_struct.symmetry.plots import plot_mixtures, plot_population

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
