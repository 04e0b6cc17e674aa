"""The trials of benchmarks/crash_trials.py."""

import os

# Before torch is imported: sums round differently with two threads, and a process with threads cannot be forked.
os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')
