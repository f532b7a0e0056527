"""SGD on data, many runs that pick rows with replacement, on one thread: the best versions in numba, numpy and torch.

All of them follow delta = theta - theta*, so that a row's residual is <x, delta> - xi and the error |delta|^2. They
return the mean error of the runs at the end, so that it can be compared with the exact one. `gathers` only read rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from workloads import Workload, fastest_rng

import sdefast as sf

ROWS, COLUMNS = 10_000, 50
RUNS, STEPS, STEP_SIZE = 8192, 1000, 0.005

#: Runs that the interleaved numba version goes through in turn, in 16 kB: their products overlap in the processor.
INTERLEAVED = 32

#: Runs that numpy and torch take at once: fewer pay for calls, more leave the caches.
ARRAY_RUNS = 8192

#: Columns that numba's rows are padded to. Loops over a constant 64 become 512-bit instructions; loops over 50 or 56
#: are unrolled into scalars and shuffles at half the speed, and a width known only at run time is in between.
NUMBA_COLUMNS = 64


@dataclass(frozen=True, eq=False)
class Data:
    """The problem in one type: rows (n, d), their residuals xi at theta* (n,), and the start delta_0 (d,)."""

    problem: sf.LeastSquares
    X: np.ndarray
    xi: np.ndarray
    start: np.ndarray

    @classmethod
    def make(cls, dtype: str) -> Data:
        rng = np.random.default_rng(1)
        X = rng.standard_normal((ROWS, COLUMNS))
        y = X @ np.linspace(-0.2, 0.2, COLUMNS) + 0.5 * rng.standard_normal(ROWS)
        problem = sf.LeastSquares(data=(X, y))
        return cls(
            problem, X.astype(dtype), (y - X @ problem.theta_star).astype(dtype), -problem.theta_star.astype(dtype)
        )

    def padded(self, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and start with zeros up to so many columns, on cache lines."""
        X, start = aligned((ROWS, columns), self.X.dtype), aligned((columns,), self.X.dtype)
        X[:, :COLUMNS], start[:COLUMNS] = self.X, self.start
        return X, start


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that begin with a cache line."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + 64, np.uint8)
    first = -memory.ctypes.data % 64
    return memory[first : first + n_bytes].view(dtype).reshape(shape)


@lru_cache
def compiled_runs(columns: int, every: str | None) -> Callable[..., None]:
    """A numba kernel; ``every`` is None for errors at the end, "sums" or "increments" for errors at every iteration.

    By increments |delta - g r x|^2 = |delta|^2 - 2 g r <x, delta> + g^2 r^2 |x|^2 in O(1), with rounding errors that
    add up.
    """
    from numba import njit

    @njit(fastmath=True)
    def runs(rng, X, xi, squares, start, step, n_steps, delta, errors):  # type: ignore[no-untyped-def]
        now, everything = np.empty(len(delta)), delta.reshape(-1)
        delta[:] = start
        now[:] = (start * start).sum()
        for k in range(n_steps):
            for r in range(len(delta)):
                i = int(rng.random() * len(X))
                x, v = X[i], delta[r]
                residual = -xi[i]
                for j in range(columns):
                    residual += x[j] * v[j]
                scaled = step * residual
                for j in range(columns):
                    v[j] -= scaled * x[j]
                if every == "increments":
                    now[r] += scaled * (scaled * squares[i] - 2 * (residual + xi[i]))
                    errors[k] += now[r]
            if every == "sums" or (k == n_steps - 1 and every is None):
                square = start[0] * 0
                for j in range(len(everything)):  # of all runs in one loop, the fastest of several ways
                    square += everything[j] * everything[j]
                errors[k] += square

    return runs  # type: ignore[no-any-return]


def in_numba(data: Data, interleaved: int, every: str | None) -> float:
    X, start = data.padded(NUMBA_COLUMNS)
    kind, kernel, rng = X.dtype.type, compiled_runs(NUMBA_COLUMNS, every), fastest_rng()
    delta, errors = aligned((interleaved, NUMBA_COLUMNS), kind), np.zeros(STEPS)
    squares = np.vecdot(X, X)
    for _ in range(RUNS // interleaved):
        kernel(rng, X, data.xi, squares, start, kind(STEP_SIZE), STEPS, delta, errors)
    return float(errors[-1] / RUNS)


def in_numpy(data: Data, every: bool) -> float:
    """Whole arrays of runs, in place; einsum and vecdot were the fastest of several ways to take products of rows."""
    rng, kind = fastest_rng(), data.X.dtype.type
    errors, step = np.zeros(STEPS), kind(STEP_SIZE)
    x, residual, noise = np.empty((ARRAY_RUNS, COLUMNS), kind), np.empty(ARRAY_RUNS, kind), np.empty(ARRAY_RUNS, kind)
    for _ in range(RUNS // ARRAY_RUNS):
        delta = np.tile(data.start, (ARRAY_RUNS, 1))
        for k in range(STEPS):
            rows = rng.integers(0, ROWS, ARRAY_RUNS)
            np.take(data.X, rows, axis=0, out=x, mode="clip")  # mode: without it the result is buffered
            np.take(data.xi, rows, out=noise, mode="clip")
            if kind is np.float32:
                np.einsum("rd,rd->r", x, delta, out=residual)
            else:
                np.vecdot(x, delta, out=residual)
            residual -= noise
            residual *= step
            x *= residual[:, None]
            delta -= x
            if every or k == STEPS - 1:
                errors[k] += np.vecdot(delta, delta).sum(dtype=np.float64)
    return float(errors[-1] / RUNS)


def in_torch(data: Data, every: bool) -> float:
    import torch

    torch.set_num_threads(1)
    X, xi, start = (torch.from_numpy(a) for a in (data.X, data.xi, data.start))
    errors = torch.zeros(STEPS, dtype=torch.float64)
    x, rows = torch.empty((ARRAY_RUNS, COLUMNS), dtype=X.dtype), torch.empty(ARRAY_RUNS, dtype=torch.int64)
    for _ in range(RUNS // ARRAY_RUNS):
        delta = start.repeat(ARRAY_RUNS, 1)
        for k in range(STEPS):
            rows.random_(0, ROWS)
            torch.index_select(X, 0, rows, out=x)
            residual = torch.linalg.vecdot(x, delta).sub_(xi[rows]).mul_(-STEP_SIZE)
            delta.addcmul_(x, residual[:, None])
            if every or k == STEPS - 1:
                errors[k] += torch.dot(delta.view(-1), delta.view(-1))
    return float(errors[-1] / RUNS)


def in_sklearn(data: Data) -> None:
    """One run: each epoch in the order of a fresh permutation, without replacement."""
    from sklearn.linear_model import SGDRegressor

    model = SGDRegressor(
        penalty=None, fit_intercept=False, max_iter=EPOCHS, tol=None, learning_rate="constant", eta0=STEP_SIZE,
        random_state=1,
    )  # fmt: skip
    model.fit(data.X, data.problem.data[1].astype(data.X.dtype))


EPOCHS = 50


def in_sdefast(data: Data, every: bool, sampling: str = "replacement") -> float:
    fit = sf.sgd(
        data.problem, step_size=STEP_SIZE, n_steps=STEPS, n_runs=RUNS, seed=1, dtype=data.X.dtype, threads=1,
        save_at="all" if every else "final", sampling=sampling,
    )  # fmt: skip
    return float(fit.error[-1])


def contenders(data: Data, every: bool) -> Iterator[Workload]:
    """Everybody, sdefast last."""
    n, group = RUNS * STEPS, f"{data.X.dtype}, error {'at every iteration' if every else 'at the end'}"
    if not every:
        yield Workload("numba, run by run", group, lambda: in_numba(data, 1, None), n)
    sums = "sums" if every else None
    yield Workload(f"numba, {INTERLEAVED} runs in turn", group, lambda: in_numba(data, INTERLEAVED, sums), n)
    if every:
        yield Workload("numba, errors by increments", group, lambda: in_numba(data, INTERLEAVED, "increments"), n)
    yield Workload("numpy", group, lambda: in_numpy(data, every), n)
    yield Workload("torch", group, lambda: in_torch(data, every), n)
    if not every:
        yield Workload("scikit-learn, one run, shuffled", group, lambda: in_sklearn(data), EPOCHS * ROWS)
    yield Workload("sdefast", group, lambda: in_sdefast(data, every), n)
    yield Workload("sdefast, shuffled", group, lambda: in_sdefast(data, every, "shuffle"), n)


# What memory allows --------------------------------------------------------------------------------------------------

READS = 1_000_000


@lru_cache
def compiled_gather(columns: int, how: str) -> Callable[..., None]:
    """Read rows: their entries into sums by row or by column, or one entry of each of their cache lines."""
    from numba import njit

    @njit(fastmath=True)
    def by_row(X, rows, sums):  # type: ignore[no-untyped-def]
        for r in range(len(rows)):
            x, total = X[rows[r]], X[0, 0] * 0
            for j in range(X.shape[1]):
                total += x[j]
            sums[r] = total

    stride = 64 // 8 if how == "lines of float64" else 64 // 4 if how == "lines of float32" else 1

    @njit(fastmath=True)
    def by_column(X, rows, sums):  # type: ignore[no-untyped-def]
        for i in rows:
            x = X[i]
            for j in range(0, columns, stride):
                sums[j] += x[j]

    return by_row if how == "by row" else by_column  # type: ignore[no-any-return]


def gathers(data: Data, random: bool) -> Iterator[Workload]:
    """Ways to read whole rows; the fastest at random is the largest number of iterations that memory allows."""
    rng, dtype = np.random.default_rng(2), data.X.dtype
    rows = rng.integers(0, ROWS, READS) if random else np.arange(READS) % ROWS
    group = f"{dtype}, rows read {'at random' if random else 'in order'}"
    n_lanes = 64 // dtype.itemsize
    whole_lines = -(-COLUMNS // n_lanes) * n_lanes
    ways = [(columns, how) for columns in (COLUMNS, whole_lines) for how in ("by row", "by column")]
    for columns, how in (*ways, (whole_lines, f"lines of {dtype}")):
        X, _ = data.padded(columns)
        read, sums = compiled_gather(columns, how), np.zeros(READS, dtype)
        what = "an entry of every line" if "lines" in how else f"every entry, summed {how}"
        yield Workload(
            f"{columns} columns, {what}", group, lambda read=read, X=X, sums=sums: read(X, rows, sums), READS
        )
    out = np.empty((ARRAY_RUNS, COLUMNS), dtype)
    parts = rows[: READS // ARRAY_RUNS * ARRAY_RUNS].reshape(-1, ARRAY_RUNS)

    def take() -> None:
        for part in parts:
            np.take(data.X, part, axis=0, out=out, mode="clip")

    yield Workload("numpy.take", group, take, parts.size)
