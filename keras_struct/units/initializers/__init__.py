"""Weights of new units."""
