"""Kernels: how the hardware does it. Nothing in this folder imports the package."""
