"""Units that come and go: layers, growth, pruning, budgets."""
