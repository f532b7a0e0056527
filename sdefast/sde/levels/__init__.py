"""The levels of multilevel Monte Carlo: their paths, how many of them are needed, and what is known of them."""
