"""Exact laws of SGD on least squares.

- ``moments``: what a law of the inputs has to tell: H = E xx', the noise, E xx'Mxx';
- ``expectations``: mean, covariance and error after k iterations of independent batches, of averages too;
- ``epochs``: the same in shuffled epochs, and batches without replacement;
- ``thresholds``: step sizes up to which it is stable, stationary covariances, Lyapunov's exponent and equation;
- ``gibbs``: reversibility, temperatures, Gibbs laws and posteriors under constant noise;
- ``modified``: the stochastic modified equations and their errors;
- ``exact``: all this as methods, for `LeastSquares`.
"""
