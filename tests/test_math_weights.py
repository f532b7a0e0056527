"""Log-sum-exp and softmax: against exact numbers, and compiled."""

import math

import mpmath
import numpy as np
import pytest

import sdefast as sf
from sdefast.trace import all_parts, constant, derivative, evaluate, symbol

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
LOGSUMEXP, SOFTMAX = sf.math.logsumexp, sf.math.softmax


def exact(values):
    """Log-sum-exp and softmax of numbers, in 60 digits."""
    with mpmath.workdps(60):
        weights = [mpmath.exp(mpmath.mpf(float(v))) for v in values]
        total = mpmath.fsum(weights)
        return mpmath.log(total), [w / total for w in weights]


def samples(dtype):
    random = np.random.default_rng(5)
    for n in (1, 2, 3, 7, 25):
        for scale in (1e-3, 1.0, 10.0, 60.0):
            for offset in (0.0, -5e3, 7e4):
                yield (offset + scale * random.normal(size=n)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors(dtype):
    """In units in the last place of the largest of value, result and 1; shares as `softmax` says."""
    worst = worst_share = 0.0
    for values in samples(dtype):
        total, shares = exact(values)
        have = LOGSUMEXP([v[None] for v in values])  # arrays keep their type
        assert have.dtype == dtype
        scale = max(1.0, abs(float(total)), abs(float(values.max())))
        worst = max(worst, abs(float(mpmath.mpf(float(have[0])) - total)) / (EPS[dtype] * scale))
        for v, share, want in zip(values, SOFTMAX([v[None] for v in values]), shares, strict=True):
            distance = float(values.max()) - float(v)
            if distance < 60:
                error = abs(float(mpmath.mpf(float(share[0])) / want - 1)) / EPS[dtype]
                worst_share = max(worst_share, error - 0.5 * distance)
    assert worst < 2.0
    assert worst_share < 6.0


def test_plain_numbers():
    assert LOGSUMEXP((3.0,)) == 3.0
    assert LOGSUMEXP((0.0, 0.0)) == sf.math.log(2.0)
    assert LOGSUMEXP([1e4, 1e4 - 800.0]) == 1e4
    assert LOGSUMEXP((-math.inf, 2.0)) == 2.0
    assert LOGSUMEXP((-math.inf, -math.inf)) == -math.inf
    assert LOGSUMEXP((math.inf, 1.0)) == math.inf
    assert math.isnan(LOGSUMEXP((math.nan, 1.0)))
    assert SOFTMAX((-math.inf, 2.0)) == (0.0, 1.0)
    assert SOFTMAX((0.0, -1e6))[1] == pytest.approx(math.exp(-60))
    assert all(map(math.isnan, SOFTMAX((-math.inf, -math.inf))))
    assert isinstance(LOGSUMEXP((1, 2)), float)
    np.testing.assert_allclose(LOGSUMEXP(np.array([[1.0, 2.0], [3.0, 4.0]])), np.logaddexp([1.0, 2.0], [3.0, 4.0]))
    with pytest.raises(ValueError, match="logsumexp takes at least one value, got none"):
        LOGSUMEXP(())
    with pytest.raises(TypeError, match="softmax takes real numbers"):
        SOFTMAX((1.0, "a"))


def test_the_derivative_is_softmax():
    """Of any inner functions, without the shift's own slope; of shares the second derivatives."""
    x, y = symbol("x0"), symbol("x1")
    logs = (x * y, 2 * x, constant(1.5), -(y * y))
    at = {x: np.array([0.3, -2.0, 40.0]), y: np.array([1.1, 0.4, -3.0])}
    result, shares = LOGSUMEXP(logs), SOFTMAX(logs)
    values = [np.broadcast_to(evaluate(v, at), 3) for v in logs]
    w = np.exp(values - np.logaddexp.reduce(values))
    dx, dy = np.array([at[y], [2.0] * 3, [0.0] * 3, [0.0] * 3]), np.array([at[x], [0.0] * 3, [0.0] * 3, -2 * at[y]])
    np.testing.assert_allclose(evaluate(result, at), np.logaddexp.reduce(values), rtol=1e-14)
    np.testing.assert_allclose(evaluate(derivative(result, x), at), (w * dx).sum(0), rtol=1e-12, atol=1e-24)
    np.testing.assert_allclose(evaluate(derivative(result, y), at), (w * dy).sum(0), rtol=1e-12, atol=1e-24)
    for k, share in enumerate(shares):
        np.testing.assert_allclose(evaluate(share, at), w[k], rtol=1e-12, atol=1e-26)
        want = w[k] * (dx[k] - (w * dx).sum(0))
        np.testing.assert_allclose(evaluate(derivative(share, x), at), want, rtol=1e-10, atol=1e-22)


def test_no_derivative_of_the_shift_is_computed():
    x = symbol("x0")
    value = LOGSUMEXP((x, 2 * x))
    choices, own = ({part for part in all_parts([e]) if part.op == "select"} for e in (derivative(value, x), value))
    assert choices <= own


def test_constants_of_minus_infinity_are_left_out():
    x = symbol("x0")
    assert LOGSUMEXP((x, -math.inf)) is LOGSUMEXP((x, constant(-math.inf)))
    assert SOFTMAX((x, -math.inf))[1] == 0.0
    assert repr(LOGSUMEXP((x, -math.inf))).count("exp") == 1


WEIGHTS, MEANS = (0.3, 0.7), (-40.0, 55.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled(dtype):
    """The score of a mixture whose modes are so far apart that one weight is 0, and values far out."""

    def score(x):
        logs = [math.log(w) - 0.5 * (x - m) ** 2 for w, m in zip(WEIGHTS, MEANS, strict=True)]
        shares = sf.math.softmax(logs)
        return -sum(s * (x - m) for s, m in zip(shares, MEANS, strict=True))

    sde = sf.SDE(lambda t, x, p: score(x[0]), lambda t, x, p: 0.0)
    start = np.array([[-1e4, -41.0, 7.4, 7.5, 7.6, 56.0, 3e3]], dtype).T
    run = sf.simulate(
        sde, x0=start, t1=1.0, n_steps=1, n_paths=len(start), seed=1, dtype=dtype,
        expectations={"f": lambda t, x: sf.math.logsumexp((x[0] * 1e-9 - math.inf, x[0] * 1e-9 - math.inf))},
    )  # fmt: skip
    want = start[:, 0] + np.array([float(score(x)) for x in start[:, 0].astype(float)])
    np.testing.assert_allclose(run.x[-1, :, 0], want, rtol=3 * 50**2 * EPS[dtype])
    assert np.allclose(run.expectations["f"].value, -1e38, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_number_among_compiled_logarithms_leaves_none(dtype):
    """Wherever it stands: the shift does not look for it."""
    start = np.array([[9.0, 1.0, 1e6]] * 3, dtype)
    np.fill_diagonal(start, -1.0)
    sde = sf.SDE(lambda t, x, p: SOFTMAX([math.sqrt(v) for v in x]), lambda t, x, p: (0, 0, 0), dim=3)
    with pytest.warns(RuntimeWarning, match="3 of 3 paths"):
        run = sf.simulate(sde, x0=start, t1=1.0, n_steps=1, n_paths=3, seed=1, dtype=dtype)
    assert np.isnan(run.x[-1]).all()
    roots = {symbol(f"x{i}"): np.where(column > 0, column, math.nan) for i, column in enumerate(start.T)}
    assert np.isnan(evaluate(LOGSUMEXP(tuple(roots)), roots)).all()
