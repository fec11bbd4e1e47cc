"""Fused steps on a GPU: which build, its buffers, its launches."""
