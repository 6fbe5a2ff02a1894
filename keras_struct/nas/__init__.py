"""Cells whose operations are searched."""
