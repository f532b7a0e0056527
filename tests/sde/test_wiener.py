"""The Wiener process: increments that drove a run, finer and coarser grids, bridges, integrals.

Statistical tests compare with exact values at a fixed seed and allow |z| < 5; at other seeds one of the few hundred
compared numbers exceeds that once in some thousand trials.
"""

from dataclasses import replace

import numpy as np
import pytest
import reference
from conftest import LINEAR

import sdefast as sf
from sdefast import noise, resources
from sdefast.engine.grid import TimeGrid
from sdefast.sde import wiener
from sdefast.sde.sde import SDE
from sdefast.sde.seeds import derived_seed
from sdefast.sde.wiener import run_increments

GRID = np.array([0.5, 0.6, 0.75, 1.25, 1.3, 2.0])

DRIVEN = {
    "brownian": (sf.BrownianMotion(mu=0.4, sigma=0.7), 0.5, "euler-maruyama"),
    "brownian-exact": (sf.BrownianMotion(mu=0.4, sigma=0.7), 0.5, "exact"),
    "ou": (sf.OrnsteinUhlenbeck(kappa=1.3, theta=0.4, sigma=0.8), 1.5, "euler-maruyama"),
    "black-scholes": (sf.BlackScholes(mu=0.1, sigma=0.3), 2.0, "euler-maruyama"),
    "black-scholes-exact": (sf.BlackScholes(mu=0.1, sigma=0.3), 2.0, "exact"),
    "heston": (sf.Heston(mu=0.1, kappa=1.5, theta=0.5, xi=0.2, rho=-0.6), (2.0, 0.6), "euler-maruyama"),
    "linear": (LINEAR, (1.0, -1.0, 0.5), "euler-maruyama"),
}


def brownian(n_steps, n_paths, dim=1, seed=3):
    """Increments on [0, 1]."""
    return noise.brownian(seed, np.linspace(0.0, 1.0, n_steps + 1), n_paths, dim=dim, increments=True)


def simulate(name="ou", **options):
    model, x0, method = DRIVEN[name]
    common = {"x0": x0, "n_paths": 9, "method": method, "seed": 11, "save_at": "all", "first_chain": 5}
    grid = {} if "times" in options else {"t1": 2.0, "n_steps": 40}
    return sf.simulate(model, **(common | grid | options))


def driven_again(run):
    """The run's states by plain numpy, from the increments that it is said to have used."""
    grid, step = run.settings.grid, {"exact": reference.exact}.get(run.settings.method, reference.euler_maruyama)
    return step(run.model, run.x[0], grid.step_sizes(), wiener.increments(run))


# Increments of a run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRIVEN)
@pytest.mark.parametrize("options", [{}, {"times": GRID}, {"noise_dtype": "float32"}], ids=["", "times", "mixed"])
def test_increments_drive_the_run(name, options):
    run = simulate(name, **options)
    np.testing.assert_allclose(driven_again(run), run.x, rtol=1e-12, atol=1e-12)
    dw = wiener.increments(run)
    assert dw.shape == (run.settings.grid.n_steps, 9, run.model.noise_dim)
    assert dw.dtype == np.float64


@pytest.mark.parametrize("name", DRIVEN)
def test_increments_of_a_float32_run(name):
    run = simulate(name, dtype="float32")
    assert wiener.increments(run).dtype == np.float32
    np.testing.assert_allclose(driven_again(run), run.x, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("name", ["ou", "heston"])
def test_increments_of_a_resumed_run(name):
    whole, first = simulate(name), simulate(name, t1=0.75, n_steps=15)
    resumed = sf.simulate(DRIVEN[name][0], resume=first, n_steps=25, save_at="all")
    np.testing.assert_allclose(driven_again(resumed), resumed.x, rtol=1e-12)
    pieces = np.concatenate([wiener.increments(run) for run in (first, resumed)])
    assert pieces.tobytes() == wiener.increments(whole).tobytes()


def test_increments_of_a_run_resumed_through_times():
    first = simulate(times=GRID[:3])
    resumed = sf.simulate(first.model, resume=first, times=GRID[2:], save_at="all")
    np.testing.assert_allclose(driven_again(resumed), resumed.x, rtol=1e-12)


def test_increments_of_some_paths():
    run = simulate("heston")
    some = wiener.increments(run, first_path=2, n_paths=3)
    assert some.tobytes() == wiener.increments(run)[:, 2:5].tobytes()
    assert wiener.increments(run, first_path=8).shape == (40, 1, 2)
    alone = simulate("heston", first_chain=7, n_paths=3)
    assert wiener.increments(alone).tobytes() == some.tobytes()


def test_increments_need_no_states():
    kept, statistics = simulate(), simulate(paths=False)
    assert wiener.increments(statistics).tobytes() == wiener.increments(kept).tobytes()


def test_increments_of_merged_shards():
    shards = [simulate(n_paths=n, first_chain=c, n_steps=2) for n, c in ((4096, 0), (3, 4096))]
    want = np.concatenate([wiener.increments(shard) for shard in shards], axis=1)
    np.testing.assert_array_equal(wiener.increments(sf.merge(*shards)), want)


def settings_of(model, method):
    return replace(simulate().settings, model=model, method=method)


@pytest.mark.parametrize("model", [sf.OrnsteinUhlenbeck(), LINEAR], ids=["ou", "linear"])
def test_exact_transitions_have_no_increments(model):
    with pytest.raises(ValueError, match=r"run must step by Brownian increments.*'exact' of .* transition law"):
        run_increments.increments_of(settings_of(model, "exact"))


def test_schemes_with_other_draws(monkeypatch):
    """Two draws a noise, of which the first of all noises are the increments; and random signs."""
    sde = SDE(drift=lambda t, x, p: (-x[0], -x[1]), diffusion=lambda t, x, p: (1.0, x[1]), dim=2)
    euler = run_increments.SCHEMES["euler-maruyama"]
    schemes = {
        "euler-maruyama": euler,
        "two": replace(euler, name="two", n_draws=lambda equation: 2 * equation.noise_dim),
        "signs": replace(euler, name="signs", draws="signs"),
    }
    monkeypatch.setattr(run_increments, "SCHEMES", schemes)
    dw = run_increments.increments_of(settings_of(sde, "two"))
    z = noise.normals(11, 40 * 4, 9, first_chain=5).reshape(40, 4, 9)
    np.testing.assert_allclose(dw, np.sqrt(0.05) * z[:, :2].transpose(0, 2, 1), rtol=1e-15)
    assert run_increments.increments_of(settings_of(sde, "euler-maruyama")).shape == (40, 9, 2)
    dw = run_increments.increments_of(settings_of(sde, "signs"))
    z = noise.signs(11, 40 * 2, 9, first_chain=5).reshape(40, 2, 9)
    np.testing.assert_allclose(dw, np.sqrt(0.05) * z.transpose(0, 2, 1), rtol=1e-15)


def test_antithetic_pairs_mirror_their_increments():
    options = {"x0": 0.0, "t1": 1.0, "n_steps": 7, "seed": 3}
    run = sf.simulate(sf.BrownianMotion(), n_paths=10, antithetic=True, **options)
    dw = wiener.increments(run)
    np.testing.assert_allclose(dw.sum(0), run.x[-1], atol=1e-14)
    np.testing.assert_array_equal(dw[:, 5:], -dw[:, :5])
    np.testing.assert_array_equal(wiener.increments(run, first_path=3, n_paths=4), dw[:, 3:7])
    np.testing.assert_array_equal(wiener.increments(run, first_path=7), dw[:, 7:])
    run = sf.simulate(sf.BrownianMotion(), n_paths=2, normals=np.zeros((7, 2, 1)), **options)
    with pytest.raises(ValueError, match="run must have drawn its own noise"):
        wiener.increments(run)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"first_path": 9}, ValueError, "first_path must be between 0 and 8"),
        ({"first_path": -1}, ValueError, "first_path must be"),
        ({"first_path": 3, "n_paths": 7}, ValueError, "n_paths must be between 1 and 6"),
        ({"n_paths": 0}, ValueError, "n_paths must be"),
        ({"n_paths": 1.5}, TypeError, "n_paths must be an integer"),
    ],
)
def test_increments_refuses(options, error, message):
    with pytest.raises(error, match=message):
        wiener.increments(simulate(), **options)


def test_increments_are_of_a_simulation():
    with pytest.raises(TypeError, match="run must be the result of simulate, got 7"):
        wiener.increments(7)


def test_memory_is_refused_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: 2**30)
    huge = replace(simulate().settings, n_chains=10**6, grid=TimeGrid(0.0, 0, 10**6, h=1e-3))
    with pytest.raises(MemoryError, match=r"the increments \(1000000 steps x 1000000 paths.*first_path="):
        run_increments.increments_of(huge)
    with pytest.raises(MemoryError, match=r"the finer increments \(4000000000 steps x 2 paths.*smaller factor"):
        wiener.refine(brownian(4, 2), 0.25, 10**9, seed=1)
    with pytest.raises(MemoryError, match=r"the bridges \(3 times x 1000000000 paths.*first_chain="):
        wiener.bridge([0.0, 0.5, 1.0], n_paths=10**9, seed=1)
    with pytest.raises(MemoryError, match=r"the finer times.*smaller factor"):
        wiener.subdivide([0.0, 1.0], 10**9)


# Paths, coarser and finer grids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6,), (6, 4), (6, 4, 2)])
def test_path_and_its_differences(shape):
    dw = np.arange(np.prod(shape)).reshape(shape) / 8.0  # exact in binary
    w = wiener.path(dw)
    assert w.shape == (7, *shape[1:])
    assert not w[0].any()
    np.testing.assert_array_equal(np.diff(w, axis=0), dw)


def test_path_sums_in_float64():
    dw = brownian(1000, 3).astype(np.float32)
    assert wiener.path(dw).tobytes() == wiener.path(dw.astype(float)).tobytes()


def test_coarsen_by_a_factor():
    dw = np.arange(24.0).reshape(6, 2, 2)
    np.testing.assert_array_equal(wiener.coarsen(dw, 3), np.stack([dw[:3].sum(axis=0), dw[3:].sum(axis=0)]))
    np.testing.assert_array_equal(wiener.coarsen(dw, 1), dw)
    np.testing.assert_array_equal(wiener.coarsen(dw, 6), dw.sum(axis=0)[None])


@pytest.mark.parametrize("chosen", [[0, 5], [0, 1, 2, 3, 4, 5], [0, 2, 3, 5], [1, 4], [2, 3]])
def test_coarsen_to_times(chosen):
    dw = np.arange(20.0).reshape(5, 2, 2)
    coarse = wiener.coarsen(dw, times=GRID, coarse_times=GRID[chosen])
    np.testing.assert_array_equal(coarse, np.diff(wiener.path(dw)[chosen], axis=0))


def test_coarse_runs_on_the_path_of_a_fine_run():
    """The strong error of Euler-Maruyama with additive noise is of order 1: half for half the step."""
    fine = simulate(n_steps=1024, n_paths=300)
    dw, end = wiener.increments(fine), fine.x[-1]
    errors = []
    for factor in (32, 64):
        coarse = reference.euler_maruyama(fine.model, 1.5, 2.0 / (1024 // factor), wiener.coarsen(dw, factor))
        errors.append(np.sqrt(np.mean((coarse[-1] - end) ** 2)))
    assert 1.9 < errors[1] / errors[0] < 2.2


@pytest.mark.parametrize("factor", [1, 2, 3, 16])
@pytest.mark.parametrize("given", ["h", "times"])
def test_coarsen_undoes_refine(factor, given):
    grid = 0.3 if given == "h" else GRID
    dw = 0.5 * noise.normals(1, 5 * 14).reshape(5, 7, 2)
    fine = wiener.refine(dw, grid, factor, seed=2)
    assert fine.shape == (5 * factor, 7, 2)
    np.testing.assert_allclose(wiener.coarsen(fine, factor), dw, rtol=0, atol=4e-15)
    if given == "times":
        back = wiener.coarsen(fine, times=wiener.subdivide(GRID, factor), coarse_times=GRID)
        np.testing.assert_allclose(back, dw, rtol=0, atol=4e-15)


def worst_z_of_covariance(samples, covariance):
    """The largest distance of the second moments of (n, d) from what is expected, in their standard errors.

    A product of normals with covariance C has the variance C_ii C_jj + C_ij^2.
    """
    n = len(samples)
    variances = np.diag(covariance)
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    measured = samples.T @ samples / n
    random = error > 0
    np.testing.assert_allclose(measured[~random], covariance[~random], atol=1e-28)
    return np.abs((measured - covariance)[random] / error[random]).max()


def test_refined_increments_are_those_of_a_wiener_process():
    """Variance h / m and no correlation: neither with one another nor with the next step's."""
    times = np.array([0.0, 0.5, 2.0])
    coarse = noise.brownian(5, times, 40_000, dim=2, increments=True)
    fine = wiener.refine(coarse, times, 4, seed=5)
    lengths = np.diff(wiener.subdivide(times, 4))
    samples = fine.transpose(1, 2, 0).reshape(40_000, 16)  # both components of all 8 steps
    assert worst_z_of_covariance(samples, np.diag(np.tile(lengths, 2))) < 5
    assert np.abs(samples.mean(axis=0) / np.sqrt(np.tile(lengths, 2) / 40_000)).max() < 5


def test_refining_twice_is_refining_finer():
    """The second refinement, under the same seed, does not see the noise of the first."""
    fine = wiener.refine(wiener.refine(brownian(2, 40_000), 0.5, 2, seed=3), 0.25, 2, seed=3)
    assert worst_z_of_covariance(fine[:, :, 0].T, np.diag(np.full(8, 1 / 8))) < 5


def test_refined_noise_is_not_the_run_s_own():
    """Bridges correlate neither with the run's normals nor with bridges of another seed, factor or first step."""
    n, dw = 40_000, np.zeros((2, 40_000, 1))
    own = noise.normals(3, 4, n)
    others = [
        wiener.refine(dw, 0.5, 2, seed=3)[::2, :, 0],
        wiener.refine(dw, 0.5, 2, seed=4)[::2, :, 0],
        wiener.refine(dw, 0.5, 3, seed=3)[::3, :, 0],
        wiener.refine(dw, 0.5, 2, seed=3, first_step=2)[::2, :, 0],
        wiener.bridge([0.0, 0.5, 1.0], seed=3, n_paths=n)[1:2, :, 0],
    ]
    samples = np.concatenate([own, *others]).T
    variances = [1.0] * 4 + [1 / 8] * 4 + [1 / 9] * 2 + [1 / 8] * 2 + [1 / 4]
    assert worst_z_of_covariance(samples, np.diag(variances)) < 5


def test_refine_is_keyed():
    dw = brownian(6, 8, dim=2)
    whole = wiener.refine(dw, 1 / 6, 4, seed=2**64 - 1, first_chain=100)
    assert whole.tobytes() == wiener.refine(dw, 1 / 6, 4, seed=2**64 - 1, first_chain=100).tobytes()
    some = wiener.refine(dw[:, 3:5], 1 / 6, 4, seed=2**64 - 1, first_chain=103)
    assert some.tobytes() == whole[:, 3:5].tobytes()


def test_the_derived_seeds_stay():
    """Pinned: they are part of what a seed means."""
    assert derived_seed(7, "refine", 0, 10, 2) == 7463919814715487306
    assert derived_seed(7, "bridge") == 6110604910641202652


def test_subdivide_keeps_the_times():
    fine = wiener.subdivide(GRID, 7)
    assert len(fine) == 36
    np.testing.assert_array_equal(fine[::7], GRID)
    np.testing.assert_allclose(np.diff(fine), np.repeat(np.diff(GRID) / 7, 7), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda dw: wiener.path(1.0), ValueError, "dw must hold at least one step"),
        (lambda dw: wiener.path(np.empty((0, 3))), ValueError, "dw must hold at least one step"),
        (lambda dw: wiener.path("dw"), TypeError, "dw must be an array of real numbers"),
        (lambda dw: wiener.path([1.0, np.nan]), ValueError, "dw must be finite"),
        (lambda dw: wiener.coarsen(dw), TypeError, "coarsen needs either factor, or both"),
        (lambda dw: wiener.coarsen(dw, times=GRID), TypeError, "coarsen needs either factor, or both"),
        (lambda dw: wiener.coarsen(dw, coarse_times=GRID), TypeError, "coarsen needs either factor, or both"),
        (lambda dw: wiener.coarsen(dw, 5, times=GRID), TypeError, "coarsen needs either factor, or both"),
        (
            lambda dw: wiener.coarsen(dw, 5, times=GRID, coarse_times=GRID),
            TypeError,
            "coarsen needs either factor, or both",
        ),
        (lambda dw: wiener.coarsen(dw, 2), ValueError, "factor must divide the number of steps, got factor=2 for 5"),
        (lambda dw: wiener.coarsen(dw, 0), ValueError, "factor must be between 1"),
        (lambda dw: wiener.coarsen(dw, 2.0), TypeError, "factor must be an integer"),
        (
            lambda dw: wiener.coarsen(dw, times=GRID[1:], coarse_times=GRID),
            ValueError,
            "times must hold one more than the 5 steps of dw, got 5",
        ),
        (
            lambda dw: wiener.coarsen(dw, times=GRID, coarse_times=[0.5, 0.8]),
            ValueError,
            "coarse_times must be among times, got 0.8; the nearest is 0.75",
        ),
        (
            lambda dw: wiener.coarsen(dw, times=GRID, coarse_times=[0.5]),
            ValueError,
            "coarse_times must hold at least 2",
        ),
        (
            lambda dw: wiener.coarsen(dw, times=GRID, coarse_times=[0.5, 0.6, 0.6 + 1e-12]),
            ValueError,
            "coarse_times must name a time once",
        ),
        (
            lambda dw: wiener.coarsen(dw, times=GRID, coarse_times=[0.6, 0.5]),
            ValueError,
            "coarse_times must be strictly increasing",
        ),
        (lambda dw: wiener.subdivide([1.0], 2), ValueError, "times must hold at least 2"),
        (lambda dw: wiener.subdivide(GRID, 0), ValueError, "factor must be"),
        (lambda dw: wiener.subdivide([1.0, 1.0 + 1e-15], 20), ValueError, "factor is too large"),
        (lambda dw: wiener.refine(dw[:, :, 0], 0.1, 2, seed=1), ValueError, "dw must have shape"),
        (lambda dw: wiener.refine(dw[:, :0], 0.1, 2, seed=1), ValueError, "dw must have shape"),
        (lambda dw: wiener.refine(dw, 0.0, 2, seed=1), ValueError, "grid must be positive"),
        (lambda dw: wiener.refine(dw, "h", 2, seed=1), TypeError, "grid must be a real number"),
        (lambda dw: wiener.refine(dw, GRID[1:], 2, seed=1), ValueError, "grid must hold one more than the 5 steps"),
        (lambda dw: wiener.refine(dw, GRID[::-1], 2, seed=1), ValueError, "grid must be strictly increasing"),
        (lambda dw: wiener.refine(dw, 0.1, 0, seed=1), ValueError, "factor must be"),
        (lambda dw: wiener.refine(dw, 0.1, 2, seed=-1), ValueError, "seed must be"),
        (lambda dw: wiener.refine(dw, 0.1, 2, seed=None), TypeError, "seed must be an integer"),
        (lambda dw: wiener.refine(dw, 0.1, 2, seed=1, first_step=-1), ValueError, "first_step must be"),
        (lambda dw: wiener.refine(dw, 0.1, 2, seed=1, first_chain=-1), ValueError, "first_chain must be"),
    ],
)
def test_grids_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call(brownian(5, 3))


# Bridges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [{}, {"t0": 0.25, "t1": 3.0}, {"t0": 0.25}, {"t1": 3.0}])
def test_bridges_have_their_law(ends):
    n, a, b = 40_000, np.array([1.0, -2.0]), np.array([0.5, 3.0])
    x = wiener.bridge(GRID, a, b, seed=9, n_paths=n, **ends)
    assert x.shape == (6, n, 2)
    start, end = ends.get("t0", GRID[0]), ends.get("t1", GRID[-1])
    s, T = GRID - start, end - start
    mean = a + (b - a) * (s / T)[:, None]
    covariance = np.minimum.outer(s, s) * (T - np.maximum.outer(s, s)) / T
    samples = (x - mean[:, None]).transpose(1, 2, 0).reshape(n, 12)
    assert worst_z_of_covariance(samples, np.kron(np.eye(2), covariance)) < 5
    deviation = np.sqrt(np.tile(np.diag(covariance), 2) / n)
    random = deviation > 0
    assert np.abs(samples.mean(axis=0)[random] / deviation[random]).max() < 5


def test_bridges_end_exactly():
    a, b = noise.normals(1, 30).reshape(2, 5, 3) * [[[1e-3, 1.0, 1e3]]]
    x = wiener.bridge(GRID, a, b, seed=1, n_paths=5)
    np.testing.assert_array_equal(x[0], a)
    np.testing.assert_array_equal(x[-1], b)


def test_ends_of_bridges_may_be_of_several_shapes():
    one = wiener.bridge(GRID, 1.0, [2.0, 3.0], seed=1, n_paths=4)
    np.testing.assert_array_equal(one, wiener.bridge(GRID, [1.0, 1.0], [[2.0, 3.0]] * 4, seed=1, n_paths=4))
    assert wiener.bridge([1.0], t0=0.0, t1=2.0, seed=1).shape == (1, 1, 1)


def test_bridges_are_keyed():
    whole = wiener.bridge(GRID, seed=1, n_paths=8, first_chain=50)
    assert whole[:, 3:5].tobytes() == wiener.bridge(GRID, seed=1, n_paths=2, first_chain=53).tobytes()
    assert (whole[1:-1] != wiener.bridge(GRID, seed=2, n_paths=8, first_chain=50)[1:-1]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"times": [0.0, 0.0]}, ValueError, "times must be strictly increasing"),
        ({"times": []}, ValueError, "times must hold at least 1"),
        ({"times": [1.0]}, ValueError, "t1 must be greater than t0, got t0=1.0 and t1=1.0"),
        ({"t0": 0.6}, ValueError, "t0 must be within"),
        ({"t1": 1.9}, ValueError, "t1 must be within"),
        ({"t1": np.inf}, ValueError, "t1 must be finite"),
        ({"a": [[1.0], [2.0]]}, ValueError, r"a must be a number, of shape \(dim,\) or \(3, dim\), got shape \(2, 1\)"),
        ({"b": []}, ValueError, "b must be a number"),
        ({"a": "zero"}, TypeError, "a must be an array of real numbers"),
        ({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}, ValueError, "a must have as many components as the other end, 3"),
        ({"n_paths": 0}, ValueError, "n_paths must be"),
        ({"seed": 2**64}, ValueError, "seed must be"),
        ({"first_chain": -1}, ValueError, "first_chain must be"),
    ],
)
def test_bridge_refuses(options, error, message):
    with pytest.raises(error, match=message):
        wiener.bridge(**({"times": GRID, "n_paths": 3, "seed": 1} | options))


# Integrals ----------------------------------------------------------------------------------------------------------


def test_the_chain_rule_of_w_squared():
    """Ito: W^2 = 2 int W dW + [W]; Stratonovich: W^2 = 2 int W o dW, at every time of any grid."""
    dw = noise.brownian(1, GRID, 50, increments=True)
    w = wiener.path(dw)
    square = w[:, :, 0] ** 2
    variation = wiener.path(dw[:, :, 0] ** 2)
    ito = wiener.ito_integral(lambda t, w: 2 * w, w, dw)
    np.testing.assert_allclose(ito + variation, square, atol=1e-14)
    for rule in ("trapezoid", "midpoint"):
        stratonovich = wiener.stratonovich_integral(lambda t, w: 2 * w, w, dw, rule=rule)
        np.testing.assert_allclose(stratonovich, square, atol=1e-14)


def test_the_chain_rule_of_a_product():
    """d(W1 W2) = W2 o dW1 + W1 o dW2, to rounding."""
    dw = brownian(20, 30, dim=2)
    w = wiener.path(dw)
    integral = wiener.stratonovich_integral(lambda t, w: w[:, :, ::-1], w, dw)
    np.testing.assert_allclose(integral, w[:, :, 0] * w[:, :, 1], atol=1e-14)


def test_integrals_are_what_they_are_said_to_be():
    """Against loops, for an integrand of time and state, two Brownian motions, a state of three components."""
    dw, x = 0.3 * noise.normals(1, 5 * 8).reshape(5, 4, 2), noise.normals(2, 6 * 12).reshape(6, 4, 3)

    def f(t, x):
        return np.stack(np.broadcast_arrays(t[..., 0] * x[..., 0], x[..., 1] * x[..., 2] ** 2), axis=-1)

    def at(t, x):
        return np.array([t * x[0], x[1] * x[2] ** 2])

    ito, trapezoid, midpoint = np.zeros((3, 6, 4))
    for p in range(4):
        for k in range(5):
            left, right = at(GRID[k], x[k, p]), at(GRID[k + 1], x[k + 1, p])
            middle = at((GRID[k] + GRID[k + 1]) / 2, (x[k, p] + x[k + 1, p]) / 2)
            ito[k + 1, p] = ito[k, p] + left @ dw[k, p]
            trapezoid[k + 1, p] = trapezoid[k, p] + (left + right) / 2 @ dw[k, p]
            midpoint[k + 1, p] = midpoint[k, p] + middle @ dw[k, p]
    for integral, options, want in (
        (wiener.ito_integral, {}, ito),
        (wiener.stratonovich_integral, {}, trapezoid),
        (wiener.stratonovich_integral, {"rule": "midpoint"}, midpoint),
    ):
        np.testing.assert_allclose(integral(f, x, dw, GRID, **options), want, atol=1e-13)
        np.testing.assert_allclose(integral(f, x, dw, GRID, running=False, **options), want[-1], atol=1e-13)
    values = f(GRID[:, None, None], x)
    np.testing.assert_allclose(wiener.ito_integral(values, None, dw), ito, atol=1e-13)
    np.testing.assert_allclose(wiener.stratonovich_integral(values, x, dw), trapezoid, atol=1e-13)


@pytest.mark.parametrize("integrand", [1.0, lambda t, x: 1, lambda t, x: np.ones((1, 1, 1))], ids=["0d", "int", "ones"])
def test_integral_of_one_is_w(integrand):
    dw = brownian(6, 4)
    if not callable(integrand):
        integrand = np.full((7, 1, 1), integrand)
    for integral in (wiener.ito_integral, wiener.stratonovich_integral):
        np.testing.assert_allclose(integral(integrand, wiener.path(dw), dw), wiener.path(dw)[:, :, 0], rtol=1e-15)


def test_integrands_of_two_axes_belong_to_one_noise():
    dw = brownian(6, 6)  # as many paths as steps: nothing but the number of axes tells them apart
    w = wiener.path(dw)
    flat = wiener.ito_integral(lambda t, w: w[:, :, 0] ** 2, w, dw)
    np.testing.assert_array_equal(flat, wiener.ito_integral(lambda t, w: w**2, w, dw))
    np.testing.assert_array_equal(flat, wiener.ito_integral(w[:, :, 0] ** 2, None, dw))


def test_integral_of_time_is_gaussian():
    """int_0^1 t dW has the variance of its sum, sum t_k^2 h."""
    n = 20_000
    dw, times = brownian(16, n), np.linspace(0.0, 1.0, 17)
    end = wiener.ito_integral(lambda t, w: t, wiener.path(dw), dw, times, running=False)
    variance = np.mean(times[:-1] ** 2)
    assert worst_z_of_covariance(end[:, None], np.array([[variance]])) < 5


def test_a_simulation_solves_its_integral_equation():
    """X(t) = x0 + int mu X ds + int sigma X dW holds to rounding for the sums of Euler-Maruyama."""
    run = simulate("black-scholes")
    dw, h = wiener.increments(run), run.settings.grid.h
    drift = wiener.path(0.1 * run.x[:-1] * h)[:, :, 0]
    noise_part = wiener.ito_integral(lambda t, x: 0.3 * x, run.x, dw)
    np.testing.assert_allclose(2.0 + drift + noise_part, run.x[:, :, 0], rtol=1e-12)


def test_nonfinite_integrands_stay_on_their_paths():
    dw = brownian(6, 3)
    w = wiener.path(dw)
    bad = np.array([False, True, False])
    integral = wiener.ito_integral(lambda t, w: np.where(bad[:, None], np.nan, w), w, dw)
    np.testing.assert_array_equal(np.isnan(integral[1:]), np.broadcast_to(bad, (6, 3)))


def errors_by_step(error, n_steps=2048, n_paths=1500):
    """Root-mean-square errors on the coarsened grids of one noise, and the slope of their logarithms."""
    dw = brownian(n_steps, n_paths)
    steps, errors = [], []
    for factor in (4, 8, 16, 32, 64):
        coarse = wiener.coarsen(dw, factor)
        steps.append(factor / n_steps)
        errors.append(np.sqrt(np.mean(error(wiener.path(coarse), coarse, steps[-1]) ** 2)))
    return np.array(errors), np.polyfit(np.log(steps), np.log(errors), 1)[0]


def ito_square(w, dw, h):
    return w[-1, :, 0] ** 2 - 2 * wiener.ito_integral(lambda t, w: w, w, dw, running=False) - 1.0


def ito_sine(w, dw, h):
    drift = -0.5 * h * np.sin(w[:-1, :, 0]).sum(axis=0)
    return np.sin(w[-1, :, 0]) - wiener.ito_integral(lambda t, w: np.cos(w), w, dw, running=False) - drift


def stratonovich_sine(w, dw, h, rule):
    integral = wiener.stratonovich_integral(lambda t, w: np.cos(w), w, dw, rule=rule, running=False)
    return np.sin(w[-1, :, 0]) - integral


@pytest.mark.parametrize("error", [ito_square, ito_sine])
def test_the_ito_formula_has_an_error_of_order_one_half(error):
    errors, slope = errors_by_step(error)
    assert abs(slope - 0.5) < 0.03
    if error is ito_square:  # sum dW^2 - 1 has the variance 2 h; the estimate of its root varies by 2 %
        np.testing.assert_allclose(errors, np.sqrt(2 * np.array([4, 8, 16, 32, 64]) / 2048), rtol=0.1)


@pytest.mark.parametrize("rule", ["trapezoid", "midpoint"])
def test_the_stratonovich_chain_rule_has_an_error_of_order_one(rule):
    _, slope = errors_by_step(lambda w, dw, h: stratonovich_sine(w, dw, h, rule))
    assert abs(slope - 1.0) < 0.05


def w_of(dw):
    return wiener.path(dw)


@pytest.mark.parametrize("integral", [wiener.ito_integral, wiener.stratonovich_integral])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, dw: f(lambda t, x: x, None, dw), TypeError, "x must be given if integrand is a function"),
        (lambda f, dw: f(lambda t, x: x, w_of(dw)[1:], dw), ValueError, r"x must have shape \(6, 3, any\)"),
        (lambda f, dw: f(lambda t, x: x, w_of(dw)[:, :, 0], dw), ValueError, "x must have shape"),
        (lambda f, dw: f(lambda t, x: x, w_of(dw), dw[:, :, 0]), ValueError, "dw must have shape"),
        (lambda f, dw: f(lambda t, x: x, w_of(dw), dw, GRID[1:]), ValueError, "times must hold one more than the 5"),
        (lambda f, dw: f(lambda t, x: t * x, w_of(dw), dw), TypeError, "integrand failed, and t is None without times"),
        (lambda f, dw: f(lambda t, x: x + "a", w_of(dw), dw, GRID), TypeError, "ufunc 'add'|could not|unsupported"),
        (
            lambda f, dw: f(lambda t, x: x[:, 0], w_of(dw), dw),
            ValueError,
            r"integrand must be of shape .* got \(\d, 1\)",
        ),
        (lambda f, dw: f(lambda t, x: x > 0, w_of(dw), dw), TypeError, "integrand must return an array of real"),
        (lambda f, dw: f(lambda t, x: None, w_of(dw), dw), TypeError, "integrand must return an array of real"),
        (lambda f, dw: f(w_of(dw)[1:], None, dw), ValueError, "integrand must have values at 6 times"),
        (lambda f, dw: f(3.0, None, dw), ValueError, "integrand must have values at 6 times"),
        (lambda f, dw: f(np.ones((6, 2, 1)), None, dw), ValueError, "integrand must be of shape"),
        (lambda f, dw: f("W", None, dw), TypeError, "integrand must be an array of real numbers"),
        (lambda f, dw: f(w_of(dw), None, dw, running=1), TypeError, "running must be True or False"),
    ],
)
def test_integrals_refuse(integral, call, error, message):
    with pytest.raises(error, match=message):
        call(integral, brownian(5, 3))


def test_integrals_refuse_two_axes_for_several_noises():
    dw = brownian(3, 3, dim=3)
    with pytest.raises(ValueError, match=r"integrand must be of shape \(3, 3, 3\) or three axes"):
        wiener.ito_integral(lambda t, x: x[:, :, 0], wiener.path(dw), dw)


def test_rules_refuse():
    dw = brownian(5, 3)
    with pytest.raises(ValueError, match=r"rule must be one of 'midpoint', 'trapezoid'.*did you mean 'midpoint'"):
        wiener.stratonovich_integral(lambda t, x: x, w_of(dw), dw, rule="midpoints")
    with pytest.raises(ValueError, match="rule='midpoint' needs integrand to be a function"):
        wiener.stratonovich_integral(w_of(dw), None, dw, rule="midpoint")
