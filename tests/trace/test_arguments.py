"""In which order users' functions take time, state, parameters and functionals: their own names say so."""

import inspect

import pytest

import sdefast as sf
from sdefast.trace import argument_order


def anything(*args):
    """Of any number of arguments."""


ORDERS = [
    (lambda t, x: 0, (0, 1)), (lambda s, v: 0, (0, 1)), (lambda x, t: 0, (1, 0)), (lambda y, time: 0, (1, 0)),
    (lambda t, x, p: 0, (0, 1, 2)), (lambda x, t, p: 0, (1, 0, 2)), (lambda t, x, params=None: 0, (0, 1, 2)),
    (lambda t, x, strike=1.0: 0, (0, 1)), (lambda t, x, p=1.0: 0, (0, 1)), (lambda t, y: 0, (0, 1)),
    (lambda t, x, p, y: 0, (0, 1, 2, 3)), (lambda t, x, y: 0, (0, 1, 3)), (lambda x, t, y: 0, (1, 0, 3)),
    (anything, (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "order"), ORDERS)
def test_orders(function, order):
    assert argument_order("f", function, 4) == order


WRONG = [
    lambda x: 0, lambda t, x, p, y, q: 0, lambda x, p: 0, lambda t, p: 0, lambda t, p, x: 0, lambda x, p, t: 0,
    lambda t, time: 0, lambda x, y: 0, lambda t, x, *, k: 0, lambda t, v, x: 0,
]  # fmt: skip


@pytest.mark.parametrize("function", WRONG)
def test_what_is_refused(function):
    with pytest.raises(TypeError, match="f must be a function of") as caught:
        argument_order("f", function, 4)
    assert str(inspect.signature(function)) in str(caught.value)


def test_every_function_of_a_run_may_take_the_state_first():
    settings = {"x0": 1.0, "t1": 1.0, "n_steps": 5, "n_paths": 20, "seed": 1}
    runs = [
        sf.simulate(
            sf.SDE(drift, diffusion), **settings, stop_when=stop, expectations={"f": f},
            functionals={"most": sf.functionals.running_max(of)},
        )
        for drift, diffusion, stop, f, of in (
            (lambda t, x: -t * x[0], lambda t, x, p: 0.5 + t, lambda t, x: x[0] > 1.5, lambda t, x: t, lambda t, x: t),
            (lambda x, t: -t * x[0], lambda x, t, p: 0.5 + t, lambda x, t: x[0] > 1.5, lambda x, t: t, lambda x, t: t),
        )
    ]  # fmt: skip
    assert runs[0].x.tobytes() == runs[1].x.tobytes()
    assert runs[0].model == runs[1].model
    assert runs[0].expectations["f"].value == runs[1].expectations["f"].value == 1.0
    assert (runs[0].functionals["most"].values == runs[1].functionals["most"].values).all()


def test_functions_of_iterations_may_take_the_iteration_second():
    how = {"step_size": 0.1, "n_steps": 4, "n_runs": 50, "seed": 1, "save_at": 1}
    problem = sf.LeastSquares(theta_star=[0.5, 1.0], noise_std=0.1)
    asked = {"first": lambda k, theta: k + theta[0], "second": lambda theta, k: k + theta[0]}
    fit = sf.sgd(problem, expectations=asked, **how).expectations
    assert (fit["first"].value == fit["second"].value).all()
    assert fit["first"].value[-1] == pytest.approx(4 + 0.5 * (1 - 0.9**4), abs=0.2)
    target = sf.targets.Gaussian([0.0, 0.0], 1.0)
    asked = {"first": lambda k, x, v: k + x[0] * v[1], "second": lambda x, step, v: step + x[0] * v[1]}
    chains = sf.langevin(
        target, method="baoab", step_size=0.1, n_steps=4, n_chains=50, seed=1, save_at=1, expectations=asked
    ).expectations
    assert (chains["first"].value == chains["second"].value).all()
    for wrong, why in (
        (lambda x, v: x[0], "its first argument would be the iteration, but is called x"),
        (lambda k, v, x: x[0], "x must be its second argument"),
        (lambda x, v, k: x[0], "the iteration must be its first argument"),
    ):
        with pytest.raises(TypeError, match=rf"must be a function of \(k, x\), up to \(k, x, v\).*{why}"):
            sf.langevin(target, method="baoab", step_size=0.1, n_steps=4, n_chains=2, expectations={"f": wrong})
