"""Arguments by the names that other libraries and textbooks give them: refused with the name that is meant."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: what is written elsewhere -> what it may be here, of which the first that a call takes is meant, with a remark
_MEANT: dict[str, tuple[tuple[str, str], ...]] = {}


def _say(names: str, *meant: tuple[str, str]) -> None:
    _MEANT.update(dict.fromkeys(names.split(), meant))


_say("dt h delta_t time_step stepsize", ("n_steps", "steps have the length (t1 - t0) / n_steps"), ("step_size", ""))
_say("lr learning_rate eta gamma rate stepsize step_sizes eps epsilon alpha", ("step_size", ""))
_say("sigma std sd noise_sigma noise_sd noise scale", ("noise_std", "the standard deviation of the noise in y"))
_say("X x y Xy dataset samples A b", ("data", "data=(X, y)"))
_say("Sigma cov H hessian", ("covariance", "of Gaussian inputs"))
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


def refuse_unknown(what: str, given: Any, known: Any) -> None:
    """TypeError for names that are not known, each with what is meant by it."""
    for name in given:
        if name not in known:
            raise TypeError(f"{what} has no argument {name!r}{_hint(name, list(known))}")


def _hint(name: str, known: list[str]) -> str:
    for meant, remark in _MEANT.get(name, ()):
        if meant in known:
            return f"; it is called {meant} here" + (f": {remark}" if remark else "")
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}"


def known_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with errors about keywords that it does not have which name the one that is meant."""
    known = [
        name for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    ]  # fmt: skip
    names = frozenset(known)
    what = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: P.args, **given: P.kwargs) -> R:
        if not names.issuperset(given):
            refuse_unknown(what, given, known)
        return function(*args, **given)

    return checked
