"""Networks without layers."""
