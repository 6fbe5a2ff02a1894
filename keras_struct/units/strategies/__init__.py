"""Named recipes for units."""
