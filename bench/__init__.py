"""Benchmarks: how fast each way is on this machine, after checking that it is right."""
