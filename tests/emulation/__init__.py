"""CUDA kernels, compiled by g++ and run on the CPU: blocks, threads and shared memory."""
