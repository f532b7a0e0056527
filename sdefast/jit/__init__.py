"""Expressions compiled by LLVM into kernels for the rows of lanes of the chain loop."""
