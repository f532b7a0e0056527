"""Sampling from densities known up to a constant, by Langevin chains."""
