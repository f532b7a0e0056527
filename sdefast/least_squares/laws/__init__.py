"""Exact laws of SGD on least squares."""
