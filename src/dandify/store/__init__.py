"""The engine: read blocks, encode chunks, write, verify. Knows chunks, codecs, HDF5, Zarr; no neuroscience."""
