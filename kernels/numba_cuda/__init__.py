"""The readable GPU version: the CPU's row functions in grids of Numba CUDA."""
