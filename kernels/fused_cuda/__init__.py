"""CUDA C++: whole training steps, built for one network each."""
