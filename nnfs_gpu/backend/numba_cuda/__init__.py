"""How grids of Numba CUDA are started."""
