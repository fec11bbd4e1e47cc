"""Benchmarks: how fast every contender is on this machine, after checking that it is right."""
