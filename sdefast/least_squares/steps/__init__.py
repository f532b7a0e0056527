"""Iterations of SGD: what one does, and its kernels."""
