"""Single connections that come and go."""
