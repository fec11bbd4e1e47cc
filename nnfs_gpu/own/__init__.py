"""Layers, losses, optimizers and accuracies of the user's own, in the book's style."""
