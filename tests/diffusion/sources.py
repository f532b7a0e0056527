"""Samplers once more as their sources print them, on states that are affine in the start and the noise.

A state is the array (constant, coefficient of the start, coefficients of each noise), so that its mean and variance are
exact. Nothing here knows of rows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from diffusion.gaussian import posterior_mean

#: longest state: constant, start, and noises
MOST = 300


class Chain:
    """A state, its noise so far, and the data that the ideal model means."""

    def __init__(self, start_mean, start_variance):
        self.law = start_mean, start_variance
        self.x = np.eye(1, MOST, 1)[0]
        self.drawn = 2

    def z(self):
        """Noise that has not been used."""
        self.drawn += 1
        return np.eye(1, MOST, self.drawn - 1)[0]

    def data(self, x, alpha, sigma):
        """The posterior mean."""
        at = posterior_mean(np.array([0.0, 1.0]), alpha, sigma)
        D = (at[1] - at[0]) * x
        D[0] += at[0]
        return D

    def moments(self, x=None):
        """Mean and variance of the state, or of another."""
        x = self.x if x is None else x
        return x[0] + x[1] * self.law[0], x[1] ** 2 * self.law[1] + (x[2:] ** 2).sum()


def ddpm(chain, alphas_cumprod, steps, kind):
    """Ho et al. 2020, equation 7, with abar of the visited timesteps."""
    for t, after in zip(steps, [*steps[1:], None], strict=True):
        ab, before = alphas_cumprod[t], 1.0 if after is None else alphas_cumprod[after]
        beta = 1 - ab / before
        D = chain.data(chain.x, np.sqrt(ab), np.sqrt(1 - ab))
        mean = np.sqrt(before) * beta / (1 - ab) * D + np.sqrt(ab / before) * (1 - before) / (1 - ab) * chain.x
        variance = {"beta": beta, "beta_tilde": beta * (1 - before) / (1 - ab)}[kind] if after is not None else 0.0
        chain.x = mean + np.sqrt(variance) * chain.z()


def ddim(chain, alphas_cumprod, steps, eta):
    """Song et al. 2021, equations 12 and 16."""
    for t, after in zip(steps, [*steps[1:], None], strict=True):
        ab, before = alphas_cumprod[t], 1.0 if after is None else alphas_cumprod[after]
        D = chain.data(chain.x, np.sqrt(ab), np.sqrt(1 - ab))
        eps = (chain.x - np.sqrt(ab) * D) / np.sqrt(1 - ab)
        s = eta * np.sqrt((1 - before) / (1 - ab)) * np.sqrt(1 - ab / before)
        chain.x = np.sqrt(before) * D + np.sqrt(1 - before - s**2) * eps + s * chain.z()


def karras(chain, sigmas, s_churn=0.0, s_tmin=0.0, s_tmax=np.inf, s_noise=1.0, heun=True):
    """Karras et al. 2022, algorithm 2."""
    n = len(sigmas) - 1
    for t, after in pairwise(sigmas):
        gamma = min(s_churn / n, np.sqrt(2) - 1) if s_tmin <= t <= s_tmax else 0.0
        high = t + gamma * t
        x = chain.x + (np.sqrt(high**2 - t**2) * s_noise * chain.z() if gamma else 0)
        d = (x - chain.data(x, 1.0, high)) / high
        chain.x = x + (after - high) * d
        if after != 0 and heun:
            d2 = (chain.x - chain.data(chain.x, 1.0, after)) / after
            chain.x = x + (after - high) * (d / 2 + d2 / 2)


def ancestral(chain, sigmas, eta=1.0, s_noise=1.0):
    """k-diffusion, get_ancestral_step and sample_euler_ancestral."""
    for t, after in pairwise(sigmas):
        up = min(after, eta * np.sqrt(after**2 * (t**2 - after**2) / t**2))
        down = np.sqrt(after**2 - up**2)
        d = (chain.x - chain.data(chain.x, 1.0, t)) / t
        chain.x = chain.x + (down - t) * d + s_noise * up * chain.z()


def dpmpp_2m(chain, sigmas):
    """k-diffusion, sample_dpmpp_2m."""
    old = h_last = None
    for t, after in pairwise(sigmas):
        D = chain.data(chain.x, 1.0, t)
        h = np.log(t / after) if after else np.inf
        d = D
        if old is not None and after:
            r = h_last / h
            d = (1 + 1 / (2 * r)) * D - (1 / (2 * r)) * old
        chain.x = (after / t) * chain.x - np.expm1(-h) * d
        old, h_last = D, h


def dpmpp_2m_sde(chain, sigmas, eta=1.0, s_noise=1.0, solver_type="midpoint"):
    """k-diffusion, sample_dpmpp_2m_sde."""
    old = h_last = None
    for t, after in pairwise(sigmas):
        D = chain.data(chain.x, 1.0, t)
        if after == 0:
            chain.x = D
            continue
        h = np.log(t / after)
        eta_h = eta * h
        chain.x = after / t * np.exp(-eta_h) * chain.x - np.expm1(-h - eta_h) * D
        if old is not None:
            r = h_last / h
            if solver_type == "heun":
                chain.x = chain.x + (-np.expm1(-h - eta_h) / (-h - eta_h) + 1) * (1 / r) * (D - old)
            else:
                chain.x = chain.x + 0.5 * -np.expm1(-h - eta_h) * (1 / r) * (D - old)
        chain.x = chain.x + chain.z() * after * np.sqrt(-np.expm1(-2 * eta_h)) * s_noise
        old, h_last = D, h


def dpmpp_3m_sde(chain, sigmas, eta=1.0, s_noise=1.0):
    """k-diffusion, sample_dpmpp_3m_sde."""
    seen, hs = [], []
    for t, after in pairwise(sigmas):
        D = chain.data(chain.x, 1.0, t)
        if after == 0:
            chain.x = D
            continue
        h = np.log(t / after)
        k = h * (eta + 1)
        chain.x = np.exp(-k) * chain.x - np.expm1(-k) * D
        phi_2 = np.expm1(-k) / k + 1
        if len(seen) == 1:
            chain.x = chain.x + phi_2 * (D - seen[-1]) / (hs[-1] / h)
        elif seen:
            r0, r1 = hs[-1] / h, hs[-2] / h
            d, d_last = (D - seen[-1]) / r0, (seen[-1] - seen[-2]) / r1
            d2 = (d - d_last) / (r0 + r1)
            chain.x = chain.x + phi_2 * (d + r0 * d2) - (phi_2 / k - 0.5) * d2
        chain.x = chain.x + chain.z() * after * np.sqrt(-np.expm1(-2 * eta * h)) * s_noise
        seen, hs = [*seen, D], [*hs, h]


def parabolas(chain, sigmas, eta=0.0, s_noise=1.0):
    """The variation of constants in l = -log sigma, x' = e^-k x + k int e^{-k (1 - u)} D(u) du + noise, by quadrature.

    D(u) is the polynomial through this D and those of up to two steps before.
    """
    nodes, weights = np.polynomial.legendre.leggauss(40)
    u, weights = (nodes + 1) / 2, weights / 2
    seen = []
    for t, after in pairwise(sigmas):
        D = chain.data(chain.x, 1.0, t)
        if after == 0:
            chain.x = D
            continue
        h = np.log(t / after)
        k = (1 + eta) * h
        seen = [*seen, (-np.log(t), D)][-3:]
        at = [(place + np.log(t)) / h for place, _ in seen]
        chain.x = np.exp(-k) * chain.x
        for i, (_, data) in enumerate(seen):
            others = np.prod([(u - a) / (at[i] - a) for j, a in enumerate(at) if j != i], axis=0)
            chain.x = chain.x + k * (weights * np.exp(-k * (1 - u)) * others).sum() * data
        chain.x = chain.x + chain.z() * after * np.sqrt(-np.expm1(-2 * eta * h)) * s_noise


def flow_heun(chain, sigmas):
    """Heun's method on dx/dsigma = eps - x0 of x = (1 - sigma) x0 + sigma eps, Euler's into 0."""
    for t, after in pairwise(sigmas):
        D = chain.data(chain.x, 1 - t, t)
        u = (chain.x - D) / t  # eps - D, as x = (1 - t) D + t eps
        x = chain.x + (after - t) * u
        if after != 0:
            u2 = (x - chain.data(x, 1 - after, after)) / after
            x = chain.x + (after - t) * (u + u2) / 2
        chain.x = x


def reverse_vp(chain, betas):
    """Song et al. 2021, equation 6 with f = -beta x / 2, g^2 = beta, at every timestep; the last one to D."""
    alphas_cumprod = np.cumprod(1 - betas)
    for t in range(len(betas) - 1, -1, -1):
        alpha, sigma = np.sqrt(alphas_cumprod[t]), np.sqrt(1 - alphas_cumprod[t])
        D = chain.data(chain.x, alpha, sigma)
        score = (alpha * D - chain.x) / sigma**2
        noise = np.sqrt(betas[t]) * chain.z()
        chain.x = chain.x + betas[t] * chain.x / 2 + betas[t] * score + noise if t else D


def annealed_langevin(chain, sigmas, step_size, n):
    """Song and Ermon 2019, algorithm 1, with eps_0 / 2 = step_size, and x + sigma^2 score at the end."""
    for sigma in sigmas:
        h = step_size * sigma**2 / sigmas[-1] ** 2
        for _ in range(n):
            score = (chain.data(chain.x, 1.0, sigma) - chain.x) / sigma**2
            chain.x = chain.x + h * score + np.sqrt(2 * h) * chain.z()
    chain.x = chain.data(chain.x, 1.0, sigmas[-1])


def predictor_corrector(chain, sigmas, n_corrector, snr):
    """Song et al. 2021, algorithms 2 and 4 (VE), with the norms of many coordinates in the corrector."""
    for t, after in pairwise(sigmas):
        score = (chain.data(chain.x, 1.0, t) - chain.x) / t**2
        size = t**2 - after**2
        chain.x = chain.x + size * score + (np.sqrt(size) * chain.z() if after else 0)
        for _ in range(n_corrector if after else 0):
            g = (chain.data(chain.x, 1.0, after) - chain.x) / after**2
            mean, variance = chain.moments(g)
            eps = 2 * snr**2 / (mean**2 + variance)
            chain.x = chain.x + eps * g + np.sqrt(2 * eps) * chain.z()
