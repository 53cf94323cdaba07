"""Numba kernels: arrays in, arrays out; no files, no neuroscience."""
