"""What policies see of units, as pure data."""
