"""Whole training steps on the CPU: a tile of samples through all layers and back."""
