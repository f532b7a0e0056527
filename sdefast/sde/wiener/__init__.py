"""The Wiener process: increments on coarser and finer grids, bridges, and stochastic integrals along given paths.

Increments are arrays of shape (n_steps, n_paths, noise_dim) in the unit of a square root of time, paths and states
arrays of shape (n_times, n_paths, dim) with n_times = n_steps + 1. All functions compute in float64, whatever comes in;
only `increments` returns what a simulation used in the type in which it was used.

The sources are Kloeden and Platen, Numerical Solution of Stochastic Differential Equations, 1992, chapter 3 (stochastic
integrals, the Ito formula) and Glasserman, Monte Carlo Methods in Financial Engineering, 2003, section 3.1 (Brownian
motion and bridges).

Examples
--------
The Ito formula d(W^2) = 2 W dW + dt: the left-point sum misses W(1)^2 - 1 by the fluctuation of sum dW^2 around 1,
whose standard deviation is sqrt(2 h).

>>> import numpy as np
>>> import sdefast as sf
>>> h = 1 / 1024
>>> t = h * np.arange(1025)
>>> dw = sf.noise.brownian(7, t, n_chains=1000, increments=True)
>>> w = sf.wiener.path(dw)
>>> w.shape
(1025, 1000, 1)
>>> ito = sf.wiener.ito_integral(lambda t, w: w, w, dw, running=False)
>>> error = w[-1, :, 0] ** 2 - (2 * ito + 1.0)
>>> bool(0.9 < error.std() / np.sqrt(2 * h) < 1.1)
True

In the Stratonovich calculus the ordinary chain rule holds, for W^2 up to rounding on any grid:

>>> stratonovich = sf.wiener.stratonovich_integral(lambda t, w: w, w, dw, running=False)
>>> bool(np.abs(w[-1, :, 0] ** 2 - 2 * stratonovich).max() < 1e-12)
True

For sin(W) it reads d sin(W) = cos(W) dW - sin(W) / 2 dt in the first calculus, with an error of the order sqrt(h), and
d sin(W) = cos(W) o dW in the second, with an error of the order h:

>>> ito = sf.wiener.ito_integral(lambda t, w: np.cos(w), w, dw, running=False)
>>> error = np.sin(w[-1, :, 0]) - (ito - h / 2 * np.sin(w[:-1, :, 0]).sum(axis=0))
>>> bool(error.std() < np.sqrt(h))
True
>>> stratonovich = sf.wiener.stratonovich_integral(lambda t, w: np.cos(w), w, dw, running=False)
>>> bool((np.sin(w[-1, :, 0]) - stratonovich).std() < h)
True
"""

from .grids import bridge, coarsen, path, refine, subdivide
from .integrals import ito_integral, stratonovich_integral
from .run_increments import increments

__all__ = ["bridge", "coarsen", "increments", "ito_integral", "path", "refine", "stratonovich_integral", "subdivide"]


def __dir__() -> list[str]:
    return __all__
