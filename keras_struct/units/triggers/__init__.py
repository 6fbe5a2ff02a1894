"""When and how many units."""
