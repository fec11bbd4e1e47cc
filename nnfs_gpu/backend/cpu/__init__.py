"""How kernels start on the CPU: threads, cores, shares."""
