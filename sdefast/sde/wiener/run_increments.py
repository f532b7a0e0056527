"""The Brownian increments of a simulation, computed again from its draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ... import checks, noise, resources
from ..models import BlackScholes, BrownianMotion, Model
from ..result import Simulation
from ..schemes import SCHEMES, Scheme
from ..sde import sde_of
from ..settings import Settings

#: what a scheme draws (`Scheme.draws`) -> the function of `sdefast.noise` that returns it. Schemes whose draws are not
#: named here have no increments to return.
_SOURCES: Mapping[str, Callable[..., np.ndarray]] = {"normals": noise.normals, "signs": noise.signs}

#: models whose exact step is a function of the increments; others draw from a transition law of its own variance
_EXACT_IN_THE_INCREMENTS = (BrownianMotion, BlackScholes)


def _driving(z: np.ndarray, scheme: Scheme, noise_dim: int) -> np.ndarray:
    """Of a step's draws, (n_steps, n_draws, n_paths), those that times sqrt(h) are its increments.

    They are the first of every step: a scheme that draws more, for integrals of W or random signs, draws them after
    these. A scheme with another layout is told apart here.
    """
    return z[:, :noise_dim]


def increments(run: Simulation, *, first_path: int = 0, n_paths: int | None = None) -> np.ndarray:
    """Brownian increments W(t[k+1]) - W(t[k]) that a simulation used.

    They are computed again from the seed, whether or not the run kept its states. Component j drives column j of the
    model's diffusion; the components are independent also where the model correlates its noises (`Heston`).

    Parameters
    ----------
    run : Simulation
        Result of `simulate` or of `merge`. For a resumed run the increments are those of its own steps.
    first_path, n_paths : int
        Which of the run's paths: by default all of them.

    Returns
    -------
    ndarray of shape (n_steps, n_paths, noise_dim)
        For all steps, whichever were saved, in the type of the run's state. float32 noise that drove float64 states
        comes as float64: the normals times sqrt(h) without further rounding.

    Raises
    ------
    TypeError
        If ``run`` is no simulation.
    ValueError
        If the run's method does not step by Brownian increments, it was given its normals, or a path is out of range.
        The exact transitions of
        `OrnsteinUhlenbeck` and `LinearSDE` draw integrals of a kernel against dW, of which the increments of W are no
        function; those of `BrownianMotion` and `BlackScholes` are driven by the increments.
    MemoryError
        If the increments cannot fit; refused before allocation.

    Examples
    --------
    >>> import sdefast as sf
    >>> run = sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=8, n_paths=5, seed=1)
    >>> bool(abs(sf.wiener.increments(run).sum(axis=0) - run.x[-1]).max() < 1e-14)
    True
    """
    if not isinstance(run, Simulation):
        raise TypeError(f"run must be the result of simulate, got {checks.shown(run)}")
    settings = run.settings
    first = checks.count("first_path", first_path, least=0, most=settings.n_paths - 1)
    rest = settings.n_paths - first
    n = rest if n_paths is None else checks.count("n_paths", n_paths, most=rest)
    if settings.given_normals:
        raise ValueError("run must have drawn its own noise, and it was given its normals")
    if settings.extras.antithetic:
        chains = settings.n_chains
        dw = increments_of(replace(settings, extras=replace(settings.extras, antithetic=False)))
        return np.concatenate(
            [dw[:, first : first + n], -dw[:, max(first - chains, 0) : max(first + n - chains, 0)]], 1
        )
    return increments_of(replace(settings, first_chain=settings.first_chain + first, n_chains=n))


def increments_of(settings: Settings) -> np.ndarray:
    """The increments of a run with these settings; see `increments`.

    What decides them are model, method, seed, dtype, noise_dtype, first_chain, n_chains and grid; the rest is ignored.
    """
    s, scheme = settings, SCHEMES[settings.method]
    draw, n_draws = _source(s.model, scheme), draws_per_step(s.model, scheme)
    n_steps, dim = s.grid.n_steps, s.model.noise_dim
    converted = 0 if s.noise_dtype == s.dtype else s.dtype.itemsize
    resources.refuse_too_large(
        n_steps * s.n_paths * (n_draws * s.noise_dtype.itemsize + dim * converted),
        f"the increments ({n_steps} steps x {s.n_paths} paths x {dim} Brownian motions)",
        ["first_path= and n_paths= take some paths at a time"],
    )
    z = draw(
        s.seed, n_steps * n_draws, s.n_paths, first_draw=s.grid.first_step * n_draws, first_chain=s.first_chain,
        dtype=s.noise_dtype,
    ).reshape(n_steps, n_draws, s.n_paths)  # fmt: skip
    dw = _driving(z, scheme, dim).astype(s.dtype, copy=False)
    dw *= np.sqrt(s.grid.step_sizes())[:, None, None].astype(s.dtype)
    return dw.transpose(0, 2, 1)


def _source(model: Model, scheme: Scheme) -> Callable[..., np.ndarray]:
    """The function that draws; ValueError if what it draws does not make increments."""
    if scheme.step is None and not isinstance(model, _EXACT_IN_THE_INCREMENTS):
        raise ValueError(
            f"run must step by Brownian increments, and method={scheme.name!r} of {type(model).__name__} draws from "
            "the transition law; method='euler-maruyama' is driven by increments"
        )
    if scheme.draws not in _SOURCES:
        raise ValueError(f"run must step by Brownian increments, and method={scheme.name!r} draws {scheme.draws}")
    return _SOURCES[scheme.draws]


def draws_per_step(model: Any, scheme: Scheme) -> int:
    """Draws of a step: models know them for the schemes that they bring, schemes for all other models."""
    if scheme.name in model.schemes:
        return int(model.noise_dim_of(scheme.name))
    own = model.own_step(scheme.name)
    if own is not None:
        return int(own.n_normals)
    return scheme.n_draws(sde_of(model).equation)
