"""Built-in Langevin steps: beside the traced ones on the same noise, on all sizes, at every instruction-set level."""

import itertools

import numpy as np
import pytest
from conftest import TYPES, python, thorough_but

import sdefast as sf
from sdefast import _core
from sdefast.sampling import built_in, settings
from sdefast.sampling.chain import Chain


def logistic(n, dim, scale=1.0):
    rng = np.random.default_rng(n)
    inputs, prior_std = scale * rng.standard_normal((n, dim)), rng.uniform(0.7, 1.4, dim)
    return sf.targets.LogisticRegression(inputs, rng.integers(0, 2, n), prior_std)


def mixture(n, dim, isotropic, seed=0):
    rng = np.random.default_rng(seed)
    means, weights = 2 * rng.standard_normal((n, dim)), rng.uniform(0.5, 1.5, n)
    if isotropic:
        return sf.targets.GaussianMixture(weights, means, rng.uniform(0.3, 1.0, n))
    roots = 0.3 * rng.standard_normal((n, dim, dim)) + 0.7 * np.eye(dim)
    return sf.targets.GaussianMixture(weights, means, roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(dim))


TARGETS = {
    "one dimension": mixture(3, 1, True),
    "isotropic": mixture(5, 2, True),
    "three dimensions": mixture(4, 3, True),
    "five dimensions": mixture(3, 5, True),
    "many components": mixture(40, 2, True),
    "matrices": mixture(6, 3, False),
    "matrices in the plane": mixture(9, 2, False),
    "diagonal": sf.targets.GaussianMixture(np.ones(8), np.arange(16.0).reshape(8, 2) / 8, [np.diag([0.5, 1.5])] * 8),
    "a Gaussian": sf.targets.Gaussian(np.arange(13) / 13, 0.5 * np.eye(13) + 0.5),
    "independent components": sf.targets.Gaussian(np.arange(31) / 31, np.linspace(0.5, 2.0, 31)),
    "logistic": logistic(13, 3),
    "logistic, whole eights": logistic(64, 2, 0.5),
    "logistic, one row": logistic(1, 1),
}

#: how far one step apart from rounding differences carries a chain in a few steps
TOLERANCE = {"float64": 1e-11, "float32": 2e-4}


def both(monkeypatch, target, **options):
    """The run with built-in steps, and with traced ones."""
    how = {"step_size": 0.05, "n_steps": 12, "n_chains": 77, "seed": 4, "final_states": True, **options}
    first = sf.langevin(target, **how)
    assert isinstance(first.settings.stepping, built_in.BuiltInChain)
    settings._chain.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(built_in, "chain", Chain)
        second = sf.langevin(target, **how)
        assert type(second.settings.stepping) is Chain
    settings._chain.cache_clear()
    return first, second


def assert_close(first, second):
    """All rows that chains have at the end."""
    tolerance = TOLERANCE[first.settings.dtype.name]
    have, want = first._final_rows(), second._final_rows()
    assert have.shape == want.shape
    size = np.abs(want).max(axis=1, keepdims=True) + 1
    assert (np.abs(have - want) / size).max() < tolerance


METHODS = ("mala", "ula")

#: the targets of every day
SOME = (
    "one dimension", "isotropic", "five dimensions", "matrices", "a Gaussian", "independent components", "diagonal",
    "logistic",
)  # fmt: skip
REST = [name for name in TARGETS if name not in SOME]
#: every target, type of numbers and method in turn
CASES = thorough_but(
    [(name, METHODS[i % 2], TYPES[i % 3]) for i, name in enumerate(SOME)],
    [(name, m, TYPES[(i + (m != METHODS[i % 2])) % 3]) for i, name in enumerate([*SOME, *REST]) for m in METHODS],
)


@pytest.mark.parametrize(("name", "method", "types"), CASES)
def test_traced_steps_do_the_same(monkeypatch, name, method, types):
    target, (dtype, noise_dtype) = TARGETS[name], types
    diagnostics = 4 if target.dim < 10 else False  # (to trace those of so many components takes seconds)
    first, second = both(
        monkeypatch, target, method=method, dtype=dtype, noise_dtype=noise_dtype, burn_in=2, diagnostics=diagnostics,
        x0=np.linspace(-1, 1, target.dim),
    )  # fmt: skip
    assert_close(first, second)
    if method == "mala":
        assert 0.5 < first.acceptance < 1
        assert first.acceptance == pytest.approx(second.acceptance, abs=TOLERANCE[dtype])
    if diagnostics:
        np.testing.assert_allclose(first.pooled_variance, second.pooled_variance, rtol=100 * TOLERANCE[dtype])


OPTIONS = {
    "temperature": {"temperature": 2.5},
    "own step sizes": {"step_size": np.linspace(0.01, 0.1, 77)[None]},
    "step sizes of steps": {"step_size": np.linspace(0.1, 0.01, 12)},
    "no diagnostics": {"diagnostics": False},
    "all": {
        "temperature": 0.5, "diagnostics": 4, "burn_in": 3, "step_size": np.linspace(0.01, 0.1, 77)[None],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "method", "which"),
    thorough_but(
        [
            ("logistic", "ula", "no diagnostics"),
            ("isotropic", "ula", "step sizes of steps"),
            ("isotropic", "mala", "all"),
        ],
        list(itertools.product(("isotropic", "logistic"), METHODS, OPTIONS)),
    ),
)
def test_options(monkeypatch, name, method, which):
    target = TARGETS[name]
    assert_close(*both(monkeypatch, target, method=method, x0=np.linspace(-1, 1, target.dim), **OPTIONS[which]))


@pytest.mark.parametrize(
    ("n", "dtype"),
    thorough_but(
        [(513, "float32")],
        list(itertools.product([63, 64, 65, 511, 512, 513, 1100], ["float32", "float64"])),
    ),
)
def test_logarithms_of_many_rows_are_taken_in_parts(monkeypatch, n, dtype):
    """A log density is a sum of logarithms of products, which must not overflow."""
    target = logistic(n, 2, 0.02)
    first, second = both(monkeypatch, target, method="mala", n_steps=3, step_size=0.2, dtype=dtype)
    exact = target.log_density(first._final_rows()[:2].T)
    np.testing.assert_allclose(first._final_rows()[2], exact, rtol={"float32": 3e-6, "float64": 1e-14}[dtype])
    assert_close(first, second)


@pytest.mark.parametrize("dtype", thorough_but(["float32"], ["float32", "float64"]))
def test_margins_of_any_size(monkeypatch, dtype):
    """Where exp overflows, and where weights are cut off, slopes are 0 and 1."""
    rows = np.array([[1.0], [-1.0], [0.0], [100.0], [-100.0], [0.01]])
    x0 = np.array([-300.0, -70.0, -60.0, -1e-3, 0.0, 1e-3, 60.0, 70.0, 300.0])[:, None]
    first, second = both(
        monkeypatch, sf.targets.LogisticRegression(rows, np.ones(6)), x0=x0, n_chains=9, n_steps=1, step_size=0.1,
        method="mala", dtype=dtype,
    )  # fmt: skip
    assert_close(first, second)


@pytest.mark.parametrize("dtype", thorough_but(["float64"], ["float32", "float64"]))
def test_weights_far_below_the_largest_are_cut_off(monkeypatch, dtype):
    """Components 1e4 standard deviations apart: the far one's weight is e^-60, as in traced steps."""
    target = sf.targets.GaussianMixture([0.5, 0.5], [[-100.0], [100.0]], [1e-4, 1.0])
    x0 = np.array([-100.0, 0.0, 100.0])[:, None]
    first, second = both(monkeypatch, target, x0=x0, n_chains=3, n_steps=2, step_size=1e-5, method="mala", dtype=dtype)
    assert_close(first, second)
    assert first.n_nonfinite[-1] == 0


@pytest.mark.parametrize("name", thorough_but(["isotropic", "logistic"], ["isotropic", "matrices", "logistic"]))
def test_proposals_that_are_no_numbers_are_counted(monkeypatch, name):
    """Steps of 1e30 leave float32: those proposals are rejected."""
    first, second = both(
        monkeypatch, TARGETS[name], method="mala", step_size=1e30, dtype="float32", x0=np.full(TARGETS[name].dim, 0.5)
    )  # fmt: skip
    assert first.n_undefined == second.n_undefined
    np.testing.assert_array_equal(first.x, second.x)
    assert (first.x == 0.5).all()


@pytest.mark.parametrize("name", TARGETS)
def test_a_chain_does_not_depend_on_those_beside_it(name):
    options = {"method": "mala", "step_size": 0.1, "n_steps": 9, "seed": 8}
    many = sf.langevin(TARGETS[name], n_chains=67, **options)
    last = sf.langevin(TARGETS[name], n_chains=1, first_chain=66, **options)
    np.testing.assert_array_equal(many.x[:, 66], last.x[:, 0])


SCRIPT = """
import numpy as np, sdefast as sf
from sampling.test_kernels import TARGETS
for name, target in TARGETS.items():
    for method, dtype in (("ula", "float32"), ("mala", "float64"), ("mala", "float32")):
        chains = sf.langevin(target, method=method, step_size=0.05, n_steps=9, n_chains=40, seed=8, dtype=dtype,
                             diagnostics=4, x0=np.full(target.dim, 0.3))
        print(name, method, dtype, chains._final_rows().tobytes().hex())
"""


SUPPORTED = [isa for isa in _core.isas if isa == "baseline" or isa <= _core.isa]
ENDS = [SUPPORTED[0], SUPPORTED[-1]]


@pytest.mark.parametrize("supported", thorough_but([ENDS], [ENDS, SUPPORTED]), ids=lambda isas: f"{len(isas)} levels")
def test_bits_are_those_of_every_level(supported):
    """None of the narrower vectors, nor the C library's fma, changes a bit."""
    found = {isa: python(SCRIPT, SDEFAST_ISA=isa) for isa in supported}
    assert len(supported) > 1
    assert found[supported[0]].count("\n") == 3 * len(TARGETS)
    assert len(set(found.values())) == 1


def test_where_steps_are_built_in(monkeypatch):
    """One rule: methods and targets that there are kernels for, no metric; GPUs run the trace."""
    mixed = TARGETS["isotropic"]
    run = {"step_size": 0.1, "n_steps": 2, "n_chains": 2, "seed": 0}
    chain = built_in.chain

    class Chosen(Exception):  # noqa: N818 - it ends a call before anything is compiled
        pass

    def chosen(*made_of):
        raise Chosen(chain(*made_of))

    monkeypatch.setattr(built_in, "chain", chosen)
    settings._chain.cache_clear()

    def is_built_in(target, **options):
        with pytest.raises(Chosen) as ended:
            sf.langevin(target, **run, **options)
        return isinstance(ended.value.args[0], built_in.BuiltInChain)

    assert is_built_in(mixed, method="mala")
    assert is_built_in(TARGETS["logistic"])
    assert not is_built_in(mixed, method="baoab")
    assert not is_built_in(mixed, metric=[1.0, 2.0])
    assert not is_built_in(sf.targets.Target(log_density=lambda x: -(x[0] ** 2)))
    assert not is_built_in(sf.targets.Gaussian([0.0, 1.0], [[1.0, 0.5], [0.5, 1.0]]))
    assert not is_built_in(mixture(3, 2, False))
    assert not is_built_in(sf.targets.DisjointMixture([0.5, 0.5], [[-0.8], [1.0]], [0.3, 0.5]))
    assert not is_built_in(sf.targets.Gaussian(np.zeros(13), 1.0))
    assert is_built_in(sf.targets.Gaussian(np.zeros(31), 1.0))
    too_many = mixture(built_in._MOST_KEPT // 3 + 1, 2, False)
    assert not built_in.is_built_in(too_many.tabulated, 2)
