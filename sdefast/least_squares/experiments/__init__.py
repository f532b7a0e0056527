"""Comparisons, weak errors, and the experiments of the thesis."""
