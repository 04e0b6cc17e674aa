"""What `benchmarks/gpu.py` does: the steps, the time they get, and how their results are kept."""
