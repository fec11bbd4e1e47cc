"""CUDA C++: a file for each family of operations, common.cuh in front of each."""
