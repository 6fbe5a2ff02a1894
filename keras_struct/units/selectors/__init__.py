"""Which units are worth least."""
