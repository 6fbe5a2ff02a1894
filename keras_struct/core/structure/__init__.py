"""Structures as pure data: units, axes, the graph, edits."""
