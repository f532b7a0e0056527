"""The numba backend: expressions compiled into kernels for the rows of lanes of the chain loop."""
