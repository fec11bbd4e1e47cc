"""How kernels of CUDA C++ are built and started. Nothing here needs a device to be imported."""
