"""The workloads of ``workloads_langevin.py`` in torch, numba, JAX and BlackJAX, each as its users write fast code.

torch and JAX work on whole arrays of chains; JAX's whole run is one compiled scan, whose normals come from its default
generator or from the one it calls unsafe and fast. numba goes chain by chain through loops with `fastmath`. BlackJAX
has no unadjusted Langevin by name: its SGLD is that with the exact gradient, and in float64 alone, as its kernels turn
float32 into that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import workloads_langevin as own
from workloads import Workload, fastest_rng
from workloads_langevin import FIVE, LOGISTIC_STEP, LOGISTIC_STEPS, MALA_STEP, STEPS, Mixture

# torch ----------------------------------------------------------------------------------------------------------------


def _torch(dtype: str) -> tuple[Any, Any]:
    import torch

    torch.set_num_threads(1)
    return torch, getattr(torch, dtype)


def torch_score(mixture: Mixture, dtype: str) -> Callable[[Any], Any]:
    """Scores of x, (2, chains), by the products that numpy takes."""
    torch, _ = _torch(dtype)
    products = own.MixtureScore(mixture, 1, dtype)
    to_logs, to_sums = torch.from_numpy(products.to_logs), torch.from_numpy(products.to_sums)

    def score(x: Any) -> Any:
        logs = torch.addmm(to_logs[:, 3:], to_logs[:, :2], x).addmm_(to_logs[:, 2:3], (x * x).sum(0, keepdim=True))
        logs.sub_(logs.max(0).values).exp_()
        sums = torch.mm(to_sums, logs)
        return (sums[:2] - x * sums[2]) / sums[3]

    return score


def torch_ula(score: Callable[[Any], Any], dim: int, h: float, dtype: str, n_chains: int, n_steps: int) -> Any:
    torch, kind = _torch(dtype)
    x, z = torch.zeros(dim, n_chains, dtype=kind), torch.empty(dim, n_chains, dtype=kind)
    for _ in range(n_steps):
        x.add_(score(x), alpha=h).add_(z.normal_(), alpha=(2 * h) ** 0.5)
    return x.mean(1), x.var(1)


def torch_logistic(dtype: str) -> Any:
    torch, kind = _torch(dtype)
    signed = torch.from_numpy(own.FEATURES * own.RESPONSES[:, None]).to(kind)
    back, margins = signed.T.contiguous(), torch.empty(own.ROWS, own.LOGISTIC_CHAINS, dtype=kind)

    def score(x: Any) -> Any:
        torch.mm(signed, x, out=margins)
        return torch.mm(back, margins.neg_().sigmoid_()).sub_(x)

    return torch_ula(score, own.COLUMNS, LOGISTIC_STEP, dtype, own.LOGISTIC_CHAINS, LOGISTIC_STEPS)


def torch_mala(dtype: str, n_chains: int) -> Any:
    torch, kind = _torch(dtype)
    minus, h = -torch.from_numpy(np.linalg.inv(own.COVARIANCE)).to(kind), MALA_STEP
    shape = (10, n_chains)
    x, s, w, u = (torch.zeros(*n, dtype=kind) for n in (shape, shape, shape, (n_chains,)))
    density = torch.zeros(n_chains, dtype=kind)
    for _ in range(STEPS):
        w.normal_().mul_((2 * h) ** 0.5)
        y = torch.add(x, s, alpha=h).add_(w)
        t = torch.mm(minus, y)
        other, both = 0.5 * (y * t).sum(0), s + t
        ratio = other - density - 0.5 * w.mul_(both).sum(0) - h / 4 * both.mul_(both).sum(0)
        take = u.uniform_() < ratio.clamp_(max=0).exp_()
        x, s, density = torch.where(take, y, x), torch.where(take, t, s), torch.where(take, other, density)
    return x.var(1)


# numba ----------------------------------------------------------------------------------------------------------------


@lru_cache
def _numba_ula() -> Callable[..., Any]:
    from numba import njit

    @njit(fastmath=True)
    def run(rng, heights, means, precisions, h, root, n_steps, end):  # type: ignore[no-untyped-def]
        logs = np.empty(len(heights))
        for c in range(end.shape[1]):
            x, y = 0.0, 0.0
            for _ in range(n_steps):
                most = -np.inf
                for k in range(len(heights)):
                    logs[k] = heights[k] - 0.5 * precisions[k] * ((x - means[k, 0]) ** 2 + (y - means[k, 1]) ** 2)
                    most = max(most, logs[k])
                total, a, b = 0.0, 0.0, 0.0
                for k in range(len(heights)):
                    weight = np.exp(logs[k] - most)
                    total += weight
                    weight *= precisions[k]
                    a += weight * (means[k, 0] - x)
                    b += weight * (means[k, 1] - y)
                x += h * a / total + root * rng.standard_normal()
                y += h * b / total + root * rng.standard_normal()
            end[0, c], end[1, c] = x, y

    return run  # type: ignore[no-any-return]


def numba_ula(mixture: Mixture, n_chains: int) -> np.ndarray:
    end, h = np.empty((2, n_chains)), mixture.step_size
    args = (mixture.heights, mixture.means, 1 / mixture.variances, h, np.sqrt(2 * h), STEPS)
    _numba_ula()(fastest_rng(), *args, end)
    return end.var(axis=1)


@lru_cache
def _numba_mala() -> Callable[..., Any]:
    from numba import njit

    @njit(fastmath=True)
    def run(rng, minus, h, root, n_steps, end):  # type: ignore[no-untyped-def]
        d = len(minus)
        x, s, y, t, w = np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d)
        for c in range(end.shape[1]):
            x[:], s[:], density = 0.0, 0.0, 0.0
            for _ in range(n_steps):
                for i in range(d):
                    w[i] = root * rng.standard_normal()
                    y[i] = x[i] + h * s[i] + w[i]
                other, ratio = 0.0, 0.0
                t[:] = 0.0
                for i in range(d):
                    for j in range(d):
                        t[j] += minus[i, j] * y[i]
                for i in range(d):
                    both = s[i] + t[i]
                    other += 0.5 * y[i] * t[i]
                    ratio += both * (0.5 * w[i] + 0.25 * h * both)
                if rng.random() < np.exp(min(other - density - ratio, 0.0)):
                    x[:], s[:], density = y, t, other
            end[:, c] = x

    return run  # type: ignore[no-any-return]


def numba_mala(n_chains: int) -> np.ndarray:
    end = np.empty((10, n_chains))
    minus = np.ascontiguousarray(-np.linalg.inv(own.COVARIANCE))
    _numba_mala()(fastest_rng(), minus, MALA_STEP, np.sqrt(2 * MALA_STEP), STEPS, end)
    return end.var(axis=1)


# JAX ------------------------------------------------------------------------------------------------------------------


def _jax() -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def jax_densities(dtype: str) -> dict[str, Callable[[Any], Any]]:
    """Log densities of one state."""
    jnp = _jax().numpy
    like = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    means, halves, heights = like(FIVE.means), like(0.5 / FIVE.variances), like(FIVE.heights)
    precision, signed = like(np.linalg.inv(own.COVARIANCE)), like(own.FEATURES * own.RESPONSES[:, None])
    logsumexp, softplus = _jax().scipy.special.logsumexp, _jax().nn.softplus
    return {
        "mixture": lambda x: logsumexp(heights - halves * ((x - means) ** 2).sum(-1)),
        "gaussian": lambda x: -0.5 * x @ precision @ x,
        "logistic": lambda x: -softplus(-(signed @ x)).sum() - 0.5 * x @ x,
    }


@lru_cache
def jax_run(density: str, method: str, dtype: str, dim: int, h: float, n_chains: int, n_steps: int, kind: str) -> Any:
    """A compiled run of all chains, as a function of the key."""
    jax = _jax()
    jnp, log_density = jax.numpy, jax_densities(dtype)[density]
    score = jax.vmap(jax.grad(log_density))
    value = jax.vmap(jax.value_and_grad(log_density))
    root = float(np.sqrt(2 * h))
    if density == "logistic":  # products of matrices, as one writes it for many chains
        signed = jnp.asarray(own.FEATURES * own.RESPONSES[:, None], dtype)
        score = lambda x: jax.nn.sigmoid(-(x @ signed.T)) @ signed - x  # noqa: E731

    def ula(x: Any, key: Any) -> Any:
        return x + h * score(x) + root * jax.random.normal(key, x.shape, dtype), None

    def mala(state: Any, key: Any) -> Any:
        x, s, lp = state
        one, two = jax.random.split(key)
        w = root * jax.random.normal(one, x.shape, dtype)
        y = x + h * s + w
        other, t = value(y)
        both = s + t
        ratio = other - lp - (both * (0.5 * w + 0.25 * h * both)).sum(-1)
        take = jax.random.uniform(two, lp.shape, dtype) < jnp.exp(jnp.minimum(ratio, 0))
        return (jnp.where(take[:, None], y, x), jnp.where(take[:, None], t, s), jnp.where(take, other, lp)), None

    @jax.jit
    def run(key: Any) -> Any:
        x, keys = jnp.zeros((n_chains, dim), dtype), jax.random.split(key, n_steps)
        if method == "ula":
            return jax.lax.scan(ula, x, keys)[0].var(0)
        return jax.lax.scan(mala, (x, score(x), value(x)[0]), keys)[0][0].var(0)

    return lambda: run(jax.random.key(1, impl=kind)).block_until_ready()


@lru_cache
def blackjax_run(density: str, method: str, dtype: str, dim: int, h: float, n_chains: int, n_steps: int) -> Any:
    """The same by BlackJAX's kernels; its step sizes are those of ours."""
    import blackjax

    jax = _jax()
    jnp, log_density = jax.numpy, jax_densities(dtype)[density]
    if method == "ula":
        gradient = jax.grad(log_density)
        sgld = blackjax.sgld(lambda x, _: gradient(x))
        step, start, position = (lambda key, x: sgld.step(key, x, None, h)), (lambda x: x), (lambda x: x)
    else:
        mala = blackjax.mala(log_density, h)
        step, start, position = (lambda key, x: mala.step(key, x)[0]), mala.init, (lambda x: x.position)

    @jax.jit
    def run(key: Any) -> Any:
        def one(state: Any, key: Any) -> Any:
            return jax.vmap(step)(jax.random.split(key, n_chains), state), None

        states = jax.vmap(start)(jnp.zeros((n_chains, dim), dtype))
        return position(jax.lax.scan(one, states, jax.random.split(key, n_steps))[0]).var(0)

    return lambda: run(jax.random.key(1)).block_until_ready()


# All of them ----------------------------------------------------------------------------------------------------------

NUMPY_CHAINS = {"L1": 16_384, "L2": 4096, "L3": own.LOGISTIC_CHAINS}


def in_numpy_and_torch(name: str, dtype: str) -> Iterator[tuple[str, Callable[[], object], int]]:
    """Names, calls and numbers of chains."""
    n, precision = NUMPY_CHAINS[name], np.linalg.inv(own.COVARIANCE)
    if name == "L1":
        yield "numpy, squares multiplied out", lambda: own.numpy_ula(FIVE, dtype, n, 8192), n
        yield "numpy, in place", lambda: own.numpy_ula(FIVE, dtype, n, 1024, own.DirectScore), n
        yield "numpy, naive", lambda: own.naive_ula(FIVE, 8192), 8192
        score = torch_score(FIVE, dtype)
        yield "torch", lambda: torch_ula(score, 2, FIVE.step_size, dtype, 8192, STEPS), 8192
        yield "numba", lambda: numba_ula(FIVE, 2048), 2048
    elif name == "L2":
        yield "numpy, in place", lambda: own.numpy_mala(precision, dtype, n, 2048), n
        yield "numpy, naive", lambda: own.naive_mala(precision, n), n
        yield "torch", lambda: torch_mala(dtype, 2048), 2048
        yield "numba", lambda: numba_mala(2048), 2048
    else:
        yield "numpy, in place", lambda: own.numpy_logistic(dtype, 500), n
        yield "numpy, naive", lambda: own.naive_logistic(dtype), n
        yield "torch", lambda: torch_logistic(dtype), n


def peers(name: str, dtype: str, jax: bool) -> list[Workload]:
    """The peers of L1, L2 or L3 in a type, numba in float64 alone."""
    n_steps = LOGISTIC_STEPS if name == "L3" else STEPS
    found = [
        Workload(who, name, call, n * n_steps)
        for who, call, n in in_numpy_and_torch(name, dtype)
        if not (who == "numba" and dtype == "float32")
    ]
    if jax:
        shape: tuple[Any, ...] = {
            "L1": ("mixture", "ula", dtype, 2, FIVE.step_size), "L2": ("gaussian", "mala", dtype, 10, MALA_STEP),
            "L3": ("logistic", "ula", dtype, own.COLUMNS, LOGISTIC_STEP),
        }[name]  # fmt: skip
        n = {"L1": 8192, "L2": 2048, "L3": own.LOGISTIC_CHAINS}[name]
        calls = {f"JAX, {kind}": jax_run(*shape, n, n_steps, kind) for kind in ("threefry2x32", "unsafe_rbg")}
        if dtype == "float64":
            calls["BlackJAX"] = blackjax_run(*shape, n, n_steps)
        found += [Workload(who, name, call, n * n_steps) for who, call in calls.items()]
    return found
