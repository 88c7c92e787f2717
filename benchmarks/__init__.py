"""Measures the tracker against its goals, in one run with its references: `python -m benchmarks`."""
