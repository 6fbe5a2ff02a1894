"""What measures a running model."""
