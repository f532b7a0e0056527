"""The checks that every public call shares: flags, masks and gradients."""

import inspect
import warnings

import numpy as np
import pytest

import sdefast as sf
from sdefast import checks, functionals, least_squares, noise, quasi, wiener
from sdefast.sde.multilevel import multilevel

OU = sf.OrnsteinUhlenbeck()
PROBLEM = sf.LeastSquares(theta_star=[0.5, -0.5], noise_std=0.1)
SMALL = {"x0": 1.0, "t1": 1.0, "n_steps": 4, "n_paths": 4, "seed": 1}
FIT = {"step_size": 0.1, "n_steps": 4, "n_runs": 4, "seed": 1}
DW, PATH = np.ones((2, 1, 1)), np.ones((3, 1, 1))


def simulate(**options):
    return sf.simulate(OU, **{**SMALL, **options})


def weak_errors(**options):
    return sf.compare(PROBLEM, **FIT).weak_errors([0.1, 0.05], n_runs=4, seed=1, **options)


NORMAL = sf.targets.Gaussian(0.0, 1.0)


def langevin(**options):
    return sf.langevin(NORMAL, **{"step_size": 0.1, "n_steps": 4, "n_chains": 3, "seed": 1, **options})


def annealed_langevin(**options):
    how = {"sigmas": [2.0, 1.0], "step_size": 0.1, "steps_per_level": 2, "n_chains": 3, "seed": 1}
    return sf.annealed_langevin(NORMAL, **how, **options)


#: what may be a flag, or a number or a word
ALSO_NUMBERS = {
    ("langevin", "adapt"), ("langevin", "diagnostics"), ("sgd", "averaging"), ("ExactLaws.expected_error", "averaging"),
    ("ExactLaws.expected_loss", "averaging"),
}  # fmt: skip

#: every flag that a user may set: the function that owns it, the flag's name, and a call with its value
FLAGS = [
    (sf.simulate, "paths", lambda v: simulate(paths=v)),
    (sf.simulate, "extremes", lambda v: simulate(extremes=v)),
    (sf.simulate, "covariance", lambda v: simulate(covariance=v)),
    (sf.simulate, "antithetic", lambda v: simulate(antithetic=v)),
    (sf.simulate, "progress", lambda v: simulate(progress=v)),
    (multilevel, "progress", lambda v: multilevel(OU, lambda t, x: x[0], x0=1.0, t1=1.0, accuracy=1.0, progress=v)),
    (sf.sweep, "paths", lambda v: sf.sweep(OU, {"kappa": [1.0]}, paths=v, **SMALL)),
    (sf.sweep, "common_noise", lambda v: sf.sweep(OU, {"kappa": [1.0]}, common_noise=v, **SMALL)),
    (quasi.quasi_monte_carlo, "bridge", lambda v: quasi.quasi_monte_carlo(
        OU, expectations={"x": lambda t, x: x[0]}, bridge=v, **SMALL)),
    (quasi.sobol_normals, "bridge", lambda v: quasi.sobol_normals(2, 4, seed=1, bridge=v)),
    (sf.events.reset, "bridge", lambda v: sf.events.reset(lambda t, x: x[0] > 1, lambda t, x: 0.0, bridge=v)),
    (functionals.running_max, "bridge", lambda v: functionals.running_max(bridge=v)),
    (functionals.running_min, "bridge", lambda v: functionals.running_min(bridge=v)),
    (functionals.first_passage, "bridge", lambda v: functionals.first_passage(1.0, bridge=v)),
    (wiener.ito_integral, "running", lambda v: wiener.ito_integral(PATH, None, DW, running=v)),
    (wiener.stratonovich_integral, "running", lambda v: wiener.stratonovich_integral(
        PATH, None, DW, rule="trapezoid", running=v)),
    (noise.brownian, "increments", lambda v: noise.brownian(1, [0.0, 1.0], increments=v)),
    (sf.sgd, "reduced", lambda v: sf.sgd(PROBLEM, reduced=v, **FIT)),
    (sf.sgd, "moments", lambda v: sf.sgd(PROBLEM, moments=v, **FIT)),
    (sf.sgd, "final_states", lambda v: sf.sgd(PROBLEM, final_states=v, **FIT)),
    (sf.sgd, "covariance", lambda v: sf.sgd(PROBLEM, covariance=v, **FIT)),
    (sf.sgd, "progress", lambda v: sf.sgd(PROBLEM, progress=v, **FIT)),
    (sf.noisy_gd, "progress", lambda v: sf.noisy_gd(PROBLEM, progress=v, **FIT)),
    (sf.LeastSquares.stationary_covariance, "continuous", lambda v: PROBLEM.stationary_covariance(0.1, continuous=v)),
    (sf.LeastSquares.mean_square_threshold, "continuous", lambda v: PROBLEM.mean_square_threshold(continuous=v)),
    (least_squares.constant_noise_covariance, "continuous", lambda v: least_squares.constant_noise_covariance(
        np.eye(2), np.eye(2), 0.1, continuous=v)),
    (least_squares.two_temperature_variances, "continuous", lambda v: least_squares.two_temperature_variances(
        0.1, 1.0, continuous=v)),
    *((sf.langevin, name, lambda v, name=name: langevin(**{name: v})) for name in (
        "paths", "extremes", "covariance", "final_states", "progress")),
    *((sf.annealed_langevin, name, lambda v, name=name: annealed_langevin(**{name: v})) for name in (
        "paths", "extremes", "covariance", "final_states", "progress", "denoise")),
    *((sf.gradient_descent, name, lambda v, name=name: sf.gradient_descent(
        NORMAL, step_size=0.1, n_steps=2, **{name: v})) for name in (
        "paths", "covariance", "final_states", "progress")),
    (sf.Chains.plot, "pooled", lambda v: langevin(save_at="all").plot(pooled=v)),
    *((sf.multilevel, name, lambda v, name=name: sf.multilevel(
        sf.BrownianMotion(), lambda t, x: x[0], x0=0.0, t1=1.0, accuracy=0.1, **{name: v})) for name in (
        "antithetic", "sobol")),
    (sf.Comparison.weak_errors, "variance_reduction", lambda v: weak_errors(variance_reduction=v)),
]  # fmt: skip

NAMES = [f"{function.__qualname__}-{name}" for function, name, _ in FLAGS]


@pytest.mark.parametrize(("function", "name", "call"), FLAGS, ids=NAMES)
def test_flags_are_true_or_false_and_nothing_that_is_only_taken_for_it(function, name, call):
    for wrong in ("False", "no", "", 0, 1, 1.0, [], [True], np.array([True])):
        with pytest.raises(TypeError, match=rf"^{name} must be True or False, got "):
            call(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few runs are warned of
        for right in (True, False, np.True_, np.False_):
            call(right)


def test_no_flag_is_missing_above():
    listed = {(function.__qualname__, name) for function, name, _ in FLAGS}
    modules = (sf, functionals, sf.events, sf.jumps, quasi, wiener, noise, least_squares, sf.boundaries, sf.gibbs)
    public = [getattr(module, name) for module in modules for name in getattr(module, "__all__", dir(module))]
    kinds = [value for value in public if inspect.isclass(value) and value.__module__.startswith("sdefast")]
    methods = [m for kind in kinds for name, m in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"]
    functions = [f for f in public if inspect.isfunction(f) and f.__module__.startswith("sdefast")]
    found = {
        (f.__qualname__, p.name)
        for f in functions + methods
        for p in inspect.signature(f).parameters.values()
        if "bool" in str(p.annotation) or isinstance(p.default, bool)
    }
    assert found <= listed | ALSO_NUMBERS


MASKED = np.ma.array([1.0, 99.0], mask=[False, True])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("value", lambda v: checks.array("value", v)),
        ("theta0", lambda v: sf.sgd(PROBLEM, theta0=v, **FIT)),
        ("theta0", lambda v: PROBLEM.expected_error(step_size=0.1, n_steps=4, theta0=v)),
        ("theta_star", lambda v: sf.LeastSquares(theta_star=v, noise_std=0.1)),
        ("y of data", lambda v: sf.LeastSquares(data=(np.eye(2), v))),
        ("x0", lambda v: sf.simulate(sf.BrownianMotion(), x0=v, t1=1.0, n_steps=4, n_paths=2, seed=1)),
        ("times", lambda v: simulate(times=v, t1=None, n_steps=None)),
        ("save_at", lambda v: simulate(save_at=v)),
        ("normals", lambda v: simulate(n_steps=1, n_paths=2, normals=v.reshape(1, 2))),
        ("t", lambda v: OU.variance(v)),
        ("x0", lambda v: OU.mean(1.0, v)),
        ("strike", lambda v: sf.BlackScholes().call_price(v, 1.0, 100.0)),
        ("x", lambda v: sf.DoubleWell().potential(v)),
        ("u", lambda v: sf.Heston().characteristic_function(v, 1.0, (100.0, 0.04))),
        ("dw", lambda v: wiener.path(v.reshape(2, 1, 1))),
        (
            "what integrand returns",
            lambda v: wiener.ito_integral(lambda t, x: v.reshape(2, 1, 1), PATH, DW),
        ),
        ("q", lambda v: simulate(histogram=(-4, 4, 8)).quantile(v / 100)),
        ("exp", lambda v: sf.math.exp(v)),
    ],
)
def test_masked_entries_are_refused(name, call):
    with pytest.raises(ValueError, match=rf"^{name} must have no masked entries"):
        call(MASKED)


def test_masks_are_found_in_lists_and_scalars_and_masks_of_nothing_are_welcome():
    for hidden in (
        [MASKED, MASKED],
        [[1.0, np.ma.masked]],
        ([1.0, 2.0], MASKED),
        np.ma.masked,
        np.ma.array(1.0, mask=True),
    ):
        with pytest.raises(ValueError, match=r"^value must have no masked entries"):
            checks.array("value", hidden)
    with pytest.raises(ValueError, match=r"^value must have no masked entries"):
        checks.real("value", np.ma.array(3.0, mask=True))
    with pytest.raises(ValueError, match=r"^value must have no masked entries"):
        checks.count("value", np.ma.array(3, mask=True))
    clear = checks.array("value", np.ma.array([1.0, 99.0], mask=False))
    assert type(clear) is np.ndarray
    assert clear.tolist() == [1.0, 99.0]
    assert checks.array("value", [np.ma.array([1.0, 2.0]), (3, 4)]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_lists_that_hold_themselves_are_refused():
    endless = [1.0]
    endless.append(endless)
    with pytest.raises(TypeError, match="value must be an array of real numbers"):
        checks.array("value", endless)


def test_tensors_that_are_followed_by_a_gradient_are_refused():
    torch = pytest.importorskip("torch")
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    for call in (
        lambda v: sf.simulate(sf.BrownianMotion(), x0=v, t1=1.0, n_steps=4, n_paths=2, seed=1),
        lambda v: sf.simulate(sf.BrownianMotion(), x0=list(v), t1=1.0, n_steps=4, n_paths=2, seed=1),
        lambda v: sf.simulate(sf.BrownianMotion(), x0=v[0], t1=1.0, n_steps=4, n_paths=2, seed=1),
    ):
        with pytest.raises(ValueError, match=r"^x0 requires a gradient, .* pass x0\.detach\(\)"):
            call(x)
        assert call(x.detach()).x.shape == (1, 2, 1)
    with pytest.raises(ValueError, match=r"^kappa requires a gradient, .* pass kappa\.detach\(\)"):
        sf.OrnsteinUhlenbeck(kappa=x[0])
    assert sf.OrnsteinUhlenbeck(kappa=x.detach()[0]).kappa == 1.0


# Messages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sf.sgd(PROBLEM, lr=0.1, n_steps=2), "sgd has no argument 'lr'; it is called step_size here"),
        (lambda: sf.sgd(PROBLEM, **FIT, epochs=3), "'epochs'; it is called n_steps here: an epoch of n rows is"),
        (lambda: sf.sgd(PROBLEM, **FIT, dt=3), "'dt'; it is called step_size here"),
        (lambda: simulate(h=0.1), "simulate has no argument 'h'; it is called dt here"),
        (lambda: sf.sgd(PROBLEM, **FIT, sigma=1.0), "'sigma'; that is noise_std of LeastSquares"),
        (lambda: sf.sgd(PROBLEM, **FIT, X=DW), r"'X'; that is data of LeastSquares: data=\(X, y\)"),
        (lambda: sf.LeastSquares([1.0], 1.0, lr=0.1), "'lr'; that is step_size of sgd"),
        (lambda: sf.LeastSquares([1.0], 1.0, n_paths=3), "'n_paths'; that is n_runs of sgd"),
        (lambda: sf.LeastSquares([1.0], 1.0, step_size=3), "'step_size'; that is step_size of sgd"),
        (lambda: sf.sgd(PROBLEM, **FIT, batchsize=3), "'batchsize'; it is called batch_size here"),
        (lambda: sf.sgd(PROBLEM, **FIT, n_paths=3), "'n_paths'; it is called n_runs here"),
        (lambda: sf.sgd(PROBLEM, **FIT, covarianc=3), "did you mean 'covariance'"),
        (lambda: sf.sgd(PROBLEM, **FIT, qqq=3), "'qqq'; it takes problem, step_size, n_steps"),
        (lambda: sf.noisy_gd(PROBLEM, lr=0.1, n_steps=2), "'lr'; it is called step_size here"),
        (lambda: sf.gd(PROBLEM, lr=0.1, n_steps=2), "gd has no argument 'lr'; it is called step_size here"),
        (lambda: sf.compare(PROBLEM, **FIT, rng=1), "'rng'; it is called seed here: an integer"),
        (lambda: simulate(scheme="heun"), "'scheme'; it is called method here"),
        (lambda: simulate(n_runs=3), "'n_runs'; it is called n_paths here"),
        (lambda: sf.OrnsteinUhlenbeck(kapa=1.0), "OrnsteinUhlenbeck has no argument 'kapa'; did you mean 'kappa'"),
        (lambda: sf.langevin(NORMAL, lr=0.1), "langevin has no argument 'lr'; it is called step_size here"),
        (lambda: langevin(n_paths=4), "'n_paths'; it is called n_chains here"),
        (lambda: simulate(sigma=0.1), r"'sigma'; that is params of the model: BlackScholes\(sigma=0.2\)"),
        (lambda: simulate(params={}), "'params'; that is params of the model"),
        (lambda: sf.SDE(0.0, sigma=1.0), "'sigma'; it is called diffusion here"),
        (lambda: sf.SDE(0.0, mu=1.0), "'mu'; it is called drift here"),
        (lambda: sf.multilevel(sf.OrnsteinUhlenbeck(), T=1.0), "multilevel has no argument 'T'; it is called t1 here"),
    ],
)
def test_keywords_of_elsewhere_name_those_of_here(call, said):
    with pytest.raises(TypeError, match=said):
        call()


LONG = list(range(10**5))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: sf.sgd(PROBLEM, **{**FIT, "seed": LONG}),
            r"seed must be an integer, got \[0, 1, 2, 3, 4, 5, 6, 7, \.\.\.",
        ),
        (
            lambda: sf.sgd(PROBLEM, **{**FIT, "seed": 10**5000}),
            "seed must be between .* an integer of about 500[01] dig",
        ),
        (lambda: simulate(n_steps=10**5000), "n_steps must be between .* got an integer of about"),
        (lambda: sf.sgd(PROBLEM, **{**FIT, "step_size": ["a"] * 10**5}), "step_size must be an array of real numbers"),
        (lambda: sf.LeastSquares([1.0] * 10**5 + [np.nan], 1.0), "theta_star must be finite"),
        (lambda: sf.LeastSquares([1.0], 10**5000), "noise_std must be finite"),
        (
            lambda: sf.SDE(lambda t, x, p: x[0], lambda t, x, p: 1.0, params={"k": np.zeros((1000, 2))}),
            "params..k.. must be",
        ),
        (lambda: langevin(x0="x" * 10**5), "x0 must be an array or 'sample'"),
        (lambda: sf.sgd(PROBLEM, **FIT, save_at={i: i for i in range(10**5)}), "save_at must be"),
        (lambda: sf.sgd(PROBLEM, **FIT, runs=np.full(10**5, 99)), "runs must hold integers from 0 to 3"),
    ],
)
def test_messages_are_short(call, said):
    with pytest.raises((TypeError, ValueError), match=said) as error:
        call()
    assert len(str(error.value)) < 500


def test_what_is_shown_of_short_values_is_all_of_them():
    for value in (1, -0.5, "text", [1, 2.5], {"a": (1, None)}, (), np.float64(2.0), b"x", 10**60, np.arange(3.0)):
        assert checks.shown(value) == repr(value)


class ByDLPack:
    """An array of which DLPack is all that is known."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **how):
        return self.values.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def test_arrays_of_other_libraries():
    torch = pytest.importorskip("torch")
    plain = [1.5, -2.0]
    complex_ones = torch.tensor([1.0 + 1.5j, -2.0j])
    for given in (
        torch.tensor(plain, dtype=torch.bfloat16), torch.tensor(plain, dtype=torch.float8_e5m2),
        torch.tensor([-1.5j, 2j]).conj().imag, torch.tensor(plain).to_sparse(),
        ByDLPack(np.array(plain)), torch.tensor([-1.5, 2.0])._neg_view(),
    ):  # fmt: skip
        assert checks.array("x", given).tolist() == plain
    assert sf.LeastSquares(torch.tensor(plain, dtype=torch.bfloat16), 0.1) == sf.LeastSquares(plain, 0.1)
    with pytest.raises(TypeError, match="x is a tensor on the device 'meta', which holds no numbers"):
        checks.array("x", torch.zeros(2, device="meta"))
    with pytest.raises(TypeError, match="x must be an array of real numbers"):
        checks.array("x", complex_ones.conj())
    for check in (checks.count, checks.real):
        with pytest.raises(TypeError, match="x must be"):
            check("x", torch.zeros((), device="meta"))
    assert checks.real("x", torch.tensor(1.5, dtype=torch.bfloat16)) == 1.5


def test_warnings_name_the_line_that_called():
    calls = (lambda: sf.sgd(PROBLEM, **{**FIT, "step_size": 3.0}), lambda: sf.gd(PROBLEM, step_size=3.0, n_steps=2))
    for call in calls:
        with pytest.warns(RuntimeWarning) as said:
            call()
        assert all(w.filename == __file__ for w in said)
