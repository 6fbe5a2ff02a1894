"""Statistics of activations, weights and gradients, and operation counts."""
