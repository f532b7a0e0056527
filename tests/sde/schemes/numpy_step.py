"""A scheme's step as a function of numpy arrays: the same expressions that are compiled, evaluated one by one."""

import numpy as np

from sdefast.sde.schemes.base import Interval
from sdefast.sde.schemes.equation import parameter_symbol
from sdefast.trace import evaluate, symbol


class NumpyStep:
    """``step(t, h, x, z)``: states of shape (n, dim) after a step under draws of shape (n, n_draws), in float64.

    Attributes
    ----------
    n_draws : int
        Draws that a step takes.
    noise_dim : int
        How many of them, the first ones, make increments of the Brownian motions: root(h) z.
    """

    def __init__(self, scheme, sde):
        self.scheme, self.sde = scheme, sde
        equation = sde.equation.read_as(scheme.calculus)
        if scheme.check is not None:
            scheme.check(sde, equation)
        self.n_draws, self.noise_dim = scheme.n_draws(equation), equation.noise_dim
        self._interval = Interval(*map(symbol, ("time", "step", "root")))
        self.state, self._z, self._c = (
            tuple(symbol(f"{name}[{i}]") for i in range(n))
            for name, n in (("state", equation.dim), ("draw", self.n_draws), ("constant", len(self._constants(1.0))))
        )
        self._parameters = {parameter_symbol(name): value for name, value in sde.parameters().items()}
        self.expressions = scheme.step(equation, self._interval, self.state, self._z, self._c)

    def _constants(self, h):
        constants = self.scheme.constants
        return () if constants is None else constants(self.sde, np.array([h]))[0]

    def __call__(self, t, h, x, z):
        values = dict(self._parameters)
        values |= zip(self._interval, (t, h, np.sqrt(h)), strict=True)
        values |= zip(self.state, x.T, strict=True)
        values |= zip(self._z, z.T, strict=True)
        values |= zip(self._c, self._constants(h), strict=True)
        known = {}
        columns = [np.broadcast_to(evaluate(e, values, known), len(x)) for e in self.expressions]
        return np.stack(columns, axis=1)

    def path(self, x0, t0, h, draws):
        """The final state under ``draws`` of shape (n_steps, n, n_draws), with step size ``h``."""
        x = np.broadcast_to(np.asarray(x0, float), (draws.shape[1], self.sde.dim))
        for k, z in enumerate(draws):
            x = self(t0 + k * h, h, x, z)
        return x
