"""Plots."""

from keras_struct.visualization.curves import plot_curves
from keras_struct.visualization.structure import plot_structure
from keras_struct.visualization.symmetry import plot_mixtures, plot_population
from keras_struct.visualization.widths import plot_widths, png

__all__ = ["plot_curves", "plot_mixtures", "plot_population", "plot_structure", "plot_widths", "png"]
