"""Pictures and logs of what changed."""
