"""Simulating stochastic differential equations: models, schemes, what is observed along a path."""
