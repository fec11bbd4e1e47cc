"""Benchmarks: how fast each contender is on this machine, after checking that it is right."""
