"""Benchmarks: each compares with a peer run in the same command and prints ratios. `python -m benchmarks [NAME]`."""
