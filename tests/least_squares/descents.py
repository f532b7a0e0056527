"""SGD on least squares in plain numpy, number by number as the kernels round, and the same runs on a GPU."""

from dataclasses import dataclass, field

import numpy as np
from ptx.arithmetic import rounded_once

from sdefast import noise
from sdefast.engine.gathering import ONE
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import Draws, Gathered, Observer, Tile
from sdefast.run.where import Where

fma = rounded_once()


@dataclass
class Fit:
    """A fit: the shape, as `sdefast.least_squares.cuda.shape.Shape` has it, and its settings."""

    shape: object
    dtype: str = "float64"
    noise_dtype: str | None = None
    n_steps: int = 7
    n_runs: int = 5
    seed: int = 11
    first_chain: int = 2**33 - 2
    first_step: int = 0
    decaying: bool = False
    noise_std: float = 0.3
    bounds: tuple[float, float] = (-0.5, 2.0)
    n_data: int = 11
    save_at: int = 1
    saves: np.ndarray = field(init=False)

    def __post_init__(self):
        p, rng = self.shape, np.random.default_rng(self.shape.dim)
        self.noise_dtype = self.noise_dtype or self.dtype
        n_rates = self.n_steps if self.decaying else 1
        self.rates = rng.uniform(0.5, 1.0, (n_rates, p.dim if p.per_parameter else 1)) / (p.dim + 2) / p.batch_size
        self.scale = rng.uniform(0.5, 1.5, p.dim) if p.scaled else None
        self.data = rng.standard_normal((self.n_data, p.dim + 1)) if p.finite else None
        self.start = np.concatenate([rng.standard_normal((p.dim, self.n_runs))] * (1 + p.averaged)).astype(self.dtype)
        self.saves = np.arange(self.first_step, self.first_step + self.n_steps + 1, self.save_at)

    # In numpy ----------------------------------------------------------------------------------------------------

    def in_numpy(self):
        """States at all steps, (n_steps + 1, rows, n_runs)."""
        p, T = self.shape, np.dtype(self.dtype).type
        inputs, noises = self._samples()
        delta, average = self.start[: p.dim].copy(), self.start[p.dim :].copy()
        states = [self.start]
        for k in range(self.n_steps):
            rate = self.rates[k if self.decaying else 0].astype(T)[:, None]
            total = None
            for x, r in zip(inputs[k], noises[k], strict=True):
                r = r - self._product(x, delta) if p.finite else self._less(r, x, delta)
                total = x * r if total is None else fma(x, r, total)
            if p.averaged:
                weight = T(1 / (self.first_step + k + 1))
                average = fma(weight, delta - average, average)
            if p.batch_size > 1:
                delta = fma(rate, total, delta)
            elif p.per_parameter:
                delta = fma(rate * x, r, delta)
            else:
                delta = fma(x, rate[0] * r, delta)
            states.append(np.concatenate([delta, average]))
        return np.array(states)

    @staticmethod
    def _less(r, x, delta):
        """r - <x, delta>, from the first parameter to the last."""
        for xi, old in zip(x, delta, strict=True):
            r = fma(xi, -old, r)
        return r

    def _product(self, x, delta):
        """<x, delta> in columns, and these by halving, as rows of data are multiplied."""
        width = 64 // np.dtype(self.dtype).itemsize
        columns = np.zeros((width, *x.shape[1:]), self.dtype)
        for i in range(self.shape.dim):
            columns[i % width] = fma(x[i], delta[i], columns[i % width])
        while len(columns) > 1:
            columns = columns[: len(columns) // 2] + columns[len(columns) // 2 :]
        return columns[0]

    def _samples(self):
        """Inputs (n_steps, B, d, n_runs), and what residuals begin with (n_steps, B, n_runs)."""
        p, T = self.shape, np.dtype(self.dtype).type
        B, d, n = p.batch_size, p.dim, self.n_steps * p.batch_size
        if p.finite:
            rows = self.data.astype(T)[self._picks()].transpose(0, 1, 3, 2)
            return rows[:, :, :d], rows[:, :, d]
        m = d * (p.law == "normal") + p.noisy
        where = {"n_chains": self.n_runs, "first_chain": self.first_chain}
        first = self.first_step * B
        z = noise.normals(self.seed, n * m, first_draw=first * m, dtype=self.noise_dtype, **where).astype(T)
        z = z.reshape(self.n_steps, B, m, self.n_runs)
        x = z[:, :, :d]
        if p.law != "normal":
            u = noise.uniforms(self.seed, n * d, first_draw=first * d, dtype=self.dtype, **where)
            low, high = self.bounds
            x = fma(u, T(high - low), T(low)) if p.law == "uniform" else np.where(u < 0.5, T(-1), T(1))
            x = x.reshape(self.n_steps, B, d, self.n_runs)
        if p.scaled:
            x = self.scale.astype(T)[:, None] * x
        zero = np.zeros((self.n_steps, B, self.n_runs), T)
        return x, T(self.noise_std) * z[:, :, -1] if p.noisy else zero

    def _picks(self):
        """Rows of the data, (n_steps, B, n_runs)."""
        n = self.n_steps * self.shape.batch_size
        words = noise.words(
            self.seed, 2 * n, self.n_runs, stream=2, first_word=2 * self.first_step * self.shape.batch_size,
            first_chain=self.first_chain,
        )  # fmt: skip
        high, low = words[::2].astype(object), words[1::2].astype(object)
        rows = ((high << 32) + low) * self.n_data >> 64
        return rows.astype(int).reshape(self.n_steps, -1, self.n_runs)

    def errors_in_numpy(self, states):
        """Squared errors of the state, and of the average, (n_times, 1 or 2, n_runs)."""
        d, found = self.shape.dim, []
        for first in range(0, states.shape[1], d):
            total = np.zeros_like(states[:, 0])
            for i in range(first, first + d):
                total = fma(states[:, i], states[:, i], total)
            found.append(total)
        return np.stack(found, axis=1)

    # On the card -------------------------------------------------------------------------------------------------

    def tile(self, kernel, errors):
        """With the statistics of the state and of the errors."""
        p = self.shape
        n_errors = 1 + p.averaged
        observer = Observer(errors, n_errors, np.zeros(1), self.saves.astype(float))
        gathered = (
            Gathered(Layout(p.dim, 2, False, False)),
            *(Gathered(ONE, i, observed=True) for i in range(n_errors)),
        )
        return Tile(
            kernel, self.rates, Draws(0), self.seed, self.first_chain, self.n_runs, self.first_step, self.n_steps,
            self.start, self.saves, True, gathered, float(p.dim), observer,
        )  # fmt: skip

    def on_the_card(self):
        """States and the means of the errors at saved steps."""
        from sdefast.least_squares.cuda import kernels

        p = self.shape
        kernel = kernels.least_squares(
            p, self.dtype, self.noise_dtype, constant=not self.decaying, noise_std=self.noise_std, scale=self.scale,
            bounds=self.bounds, data=self.data,
        )  # fmt: skip
        tile = self.tile(kernel, kernels.errors(p.dim, p.averaged, self.dtype))
        outcome = Where.of("cuda", None, None).run(tile, None)
        means = [g.layout.total(nodes)[:, 1] for g, nodes in zip(tile.gathered[1:], outcome.nodes[1:], strict=True)]
        return outcome.states.to_numpy(), np.stack(means, axis=1)
