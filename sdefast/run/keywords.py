"""Arguments by the names that other libraries and textbooks give them: refused with the name that is meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from .. import checks

P = ParamSpec("P")
R = TypeVar("R")

NOWHERE: Mapping[str, str] = MappingProxyType({})

#: whose parameters they are, which some give to the call
OF_MODELS: Mapping[str, str] = MappingProxyType({"params": "the model"})

#: what is written elsewhere -> what it may be here, of which the first that a call takes is meant, with a remark
_MEANT: dict[str, tuple[tuple[str, str], ...]] = {}


def _say(names: str, *meant: tuple[str, str]) -> None:
    _MEANT.update(dict.fromkeys(names.split(), meant))


_say("dt h delta_t time_step", ("step_size", ""), ("dt", ""))
_say("lr learning_rate eta gamma rate stepsize step_sizes eps epsilon alpha", ("step_size", ""))
_say("std sd noise_sigma noise_sd noise scale", ("noise_std", "the standard deviation of the noise in y"))
_say(
    "sigma", ("noise_std", "the standard deviation of the noise in y"), ("diffusion", ""),
    ("params", "BlackScholes(sigma=0.2), SDE(..., params={'sigma': 0.2})"),
)  # fmt: skip
_say("mu", ("drift", ""), ("params", "BlackScholes(mu=0.1), SDE(..., params={'mu': 0.1})"))
_say("parameters args kwargs", ("params", "BlackScholes(mu=0.1), SDE(..., params={'mu': 0.1})"))
_say("X x y Xy dataset samples A b", ("data", "data=(X, y)"))
_say("Sigma cov H hessian", ("covariance", ""))
_say("theta w weights coef beta true_theta", ("theta_star", ""))
_say("distribution law input_law x_law", ("inputs", ""))
_say("epochs n_epochs num_epochs", ("n_steps", "an epoch of n rows is n // batch_size iterations"))
_say(
    "steps n_iter max_iter iterations n_iterations num_steps num_iterations nsteps N niter", ("n_steps", ""),
)  # fmt: skip
_say(
    "runs paths chains trials repeats n_sims n_simulations num_paths num_runs num_chains num_samples n_samples n_paths "
    "n_runs n_chains npaths M size", ("n_runs", ""), ("n_paths", ""), ("n_chains", ""),
)  # fmt: skip
_say("batchsize batch minibatch mini_batch minibatch_size B", ("batch_size", ""))
_say("x_0 y0 X0 init initial start s0 S0 theta_0 theta_init x_init initial_state w0", ("x0", ""), ("theta0", ""))
_say("T t_end tmax t_max t_final end horizon maturity", ("t1", ""))
_say("t_start t_0 t0_", ("t0", ""))
_say("tspan t_span ts times t_eval", ("save_at", "t0= and t1= say from when to when"), ("save_at", ""))
_say("rng random_state random_seed key generator", ("seed", "an integer"))
_say("n_jobs n_threads num_threads workers n_workers num_workers", ("threads", ""))
_say("scheme solver algorithm integrator", ("method", ""))
_say("average averaged polyak", ("averaging", ""))
_say("shuffle shuffled replace", ("sampling", "'replacement' or 'shuffle'"))
_say("verbose tqdm progress_bar", ("progress", ""))


def refuse_unknown(what: str, given: Iterable[str], known: Sequence[str], beside: Mapping[str, str] = NOWHERE) -> None:
    """TypeError for names that are not known, each with what is meant by it.

    ``beside`` says which call takes names that do not belong to this one.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{what} has no argument {name!r}{_hint(name, known, beside)}")


def called_here(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant by another, or is like it."""
    names = list(known)
    meant = [called for called, _ in _MEANT.get(name, ()) if called in names]
    return next(iter([*meant, *checks.nearest(name, names)]), None)


def _hint(name: str, known: Sequence[str], beside: Mapping[str, str]) -> str:
    meant = ((name, ""), *_MEANT.get(name, ()))
    for called, remark in meant:
        said = f": {remark}" if remark else ""
        if called in known:
            return f"; it is called {called} here{said}"
        if called in beside:
            return f"; that is {called} of {beside[called]}{said}"
    near = checks.nearest(name, known)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}"


def known_keywords(beside: Mapping[str, str] = NOWHERE) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function with errors about keywords that it does not have which name the one that is meant."""

    def known_to(function: Callable[P, R]) -> Callable[P, R]:
        known = [name for name in inspect.signature(function).parameters if name != "self"]
        names, what = frozenset(known), function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def checked(*args: P.args, **given: P.kwargs) -> R:
            if not names.issuperset(given):
                refuse_unknown(what, given, known, beside)
            return function(*args, **given)

        return checked

    return known_to
