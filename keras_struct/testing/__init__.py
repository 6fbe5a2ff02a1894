"""Test batteries for layers, edits and policies of one's own."""
