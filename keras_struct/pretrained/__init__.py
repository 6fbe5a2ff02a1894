"""Trained networks for other tasks."""
