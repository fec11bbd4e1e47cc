"""Everything about the GPU in one command: python -m bench.gpu_check, or `make gpu-check`."""
