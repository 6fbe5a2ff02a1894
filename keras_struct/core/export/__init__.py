"""Models as stock Keras layers."""
