"""Models whose structure changes, and what belongs to them."""
