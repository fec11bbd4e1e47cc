"""The CPU's kernels in Numba, and what they are compiled, kept and written with."""
