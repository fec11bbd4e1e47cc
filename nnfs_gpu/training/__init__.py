"""Training: the loop, the engines, callbacks and checkpoints."""
