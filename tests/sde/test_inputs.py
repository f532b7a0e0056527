"""Wrong input is refused before any work, naming the argument and what is allowed."""

import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sdefast as sf

OU, HESTON, BM = sf.OrnsteinUhlenbeck(), sf.Heston(), sf.BrownianMotion()
BS, LINEAR = sf.BlackScholes(), sf.LinearSDE(A=-np.eye(3))
SMALL = {"x0": 1.0, "t1": 1.0, "n_steps": 4, "n_paths": 3, "seed": 0}


def simulate(model=OU, **options):
    return sf.simulate(model, **{**SMALL, **options})


BAD = [
    # how many
    ({"n_paths": 0}, ValueError, "n_paths must be between 1 and .*, got 0"),
    ({"n_paths": -1}, ValueError, "n_paths .* got -1"),
    ({"n_paths": 1.5}, TypeError, "n_paths must be an integer, got 1.5"),
    ({"n_paths": 4.0}, TypeError, "n_paths must be an integer"),
    ({"n_paths": True}, TypeError, "n_paths must be an integer, got True"),
    ({"n_paths": np.True_}, TypeError, "n_paths must be an integer"),
    ({"n_paths": "5"}, TypeError, "n_paths must be an integer, got '5'"),
    ({"n_paths": None}, TypeError, "needs x0 and n_paths"),
    ({"n_paths": [3]}, TypeError, "n_paths must be an integer"),
    ({"n_paths": 10**30}, ValueError, "n_paths must be between"),
    ({"n_steps": 0}, ValueError, "n_steps must be between 1 and .*, got 0"),
    ({"n_steps": -4}, ValueError, "n_steps .* got -4"),
    ({"n_steps": 10.0}, TypeError, "n_steps must be an integer"),
    ({"n_steps": False}, TypeError, "n_steps must be an integer"),
    ({"n_steps": None}, TypeError, "t1 and n_steps, or times"),
    ({"n_steps": 2**70}, ValueError, "n_steps must be between"),
    ({"n_steps": 2**60}, ValueError, "n_steps is too large"),
    ({"n_steps": 2**41}, ValueError, "n_steps is too large"),
    ({"threads": 0}, ValueError, "threads must be between 1"),
    ({"threads": 2.0}, TypeError, "threads must be an integer"),
    ({"first_chain": -1}, ValueError, "first_chain must be between 0"),
    ({"first_chain": 2**63}, ValueError, "first_chain"),
    ({"first_chain": "0"}, TypeError, "first_chain must be an integer"),
    # when
    ({"t1": 0.0}, ValueError, r"t1 must be greater than t0, got t0=0\.0 and t1=0\.0"),
    ({"t1": -1.0}, ValueError, "t1 must be greater than t0"),
    ({"t0": 1.0}, ValueError, "t1 must be greater than t0"),
    ({"t1": None}, TypeError, "t1 and n_steps, or times"),
    ({"t1": np.inf}, ValueError, "t1 must be finite, got inf"),
    ({"t1": np.nan}, ValueError, "t1 must be finite, got nan"),
    ({"t0": -np.inf}, ValueError, "t0 must be finite"),
    ({"t1": "1"}, TypeError, "t1 must be a real number, got '1'"),
    ({"t1": 1j}, TypeError, "t1 must be a real number"),
    ({"t1": [1.0, 2.0]}, TypeError, "t1 must be a real number"),
    ({"t1": 10**400}, (ValueError, TypeError), "t1 must be"),
    ({"t0": -1.7e308, "t1": 1.7e308}, ValueError, "t1"),
    ({"t0": 1e17, "t1": 1.1e17, "n_steps": 10**16}, ValueError, "n_steps is too large"),
    ({"times": [0.0, 1.0]}, ValueError, "times already says"),
    ({"times": [0.0, 2.0, 1.0], "t1": None, "n_steps": None}, ValueError, "times must be strictly increasing"),
    ({"times": [0.0, 1.0, 1.0], "t1": None, "n_steps": None}, ValueError, "times must be strictly increasing"),
    ({"times": [1.0], "t1": None, "n_steps": None}, ValueError, "times must hold at least 2"),
    ({"times": 1.0, "t1": None, "n_steps": None}, ValueError, "times must have shape"),
    ({"times": "now", "t1": None, "n_steps": None}, TypeError, "times must be an array"),
    # where
    ({"x0": None}, TypeError, "needs x0 and n_paths"),
    ({"x0": np.nan}, ValueError, "x0 must be finite, got nan"),
    ({"x0": [np.inf]}, ValueError, "x0 must be finite"),
    ({"x0": [1.0, 2.0]}, ValueError, r"x0 must be a number, of shape \(1,\) or \(3, 1\), got shape \(2,\)"),
    ({"x0": np.ones((2, 1))}, ValueError, r"x0 must be .*\(3, 1\), got shape \(2, 1\)"),
    ({"x0": np.ones((1, 3))}, ValueError, r"x0 must be .* got shape \(1, 3\)"),
    ({"x0": []}, ValueError, r"x0 must be .* got shape \(0,\)"),
    ({"x0": [[1.0], [2.0, 3.0]]}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": {}}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": "one"}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": "1.0"}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": np.datetime64("2020-01-01")}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": 1j}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": np.array([1j])}, TypeError, "x0 must be an array of real numbers"),
    ({"x0": 10**400}, (ValueError, TypeError), "x0 must be"),
    ({"x0": 1e300, "dtype": "float32"}, ValueError, "x0 must be finite in float32"),
    ({"model": HESTON}, ValueError, r"x0 must be of shape \(2,\) or \(3, 2\), got shape \(\)"),
    ({"model": HESTON, "x0": [1.0, -0.1]}, ValueError, "variance|v0|x0"),
    ({"model": LINEAR, "x0": np.ones((3, 2))}, ValueError, r"x0 must be of shape \(3,\) or \(3, 3\)"),
    ({"model": BS, "x0": 0.0}, ValueError, "x0 must be positive, got 0"),
    ({"model": BS, "x0": [1.0, -1.0, 1.0]}, ValueError, "x0 must be positive, got -1"),
    ({"model": BS, "x0": 1e-60, "dtype": "float32"}, ValueError, "x0 must be positive"),
    # how
    ({"model": "ou"}, TypeError, "model must be a model such as .*, got 'ou'"),
    ({"model": sf.OrnsteinUhlenbeck}, TypeError, "model must be a model"),
    ({"model": None}, TypeError, "model must be a model"),
    ({"method": "euler-maruyma"}, ValueError, "method must be one of .*did you mean 'euler-maruyama'"),
    ({"method": "Exakt"}, ValueError, "method must be one of .*got 'Exakt'; did you mean 'exact'"),
    (
        {"model": HESTON, "x0": (1.0, 0.1), "method": "mil"},
        ValueError,
        "one of 'euler-maruyama', 'heun', 'implicit",
    ),
    (
        {"model": HESTON, "x0": (1.0, 0.1), "method": "srk1"},
        ValueError,
        "not general; methods that fit: euler-maruyama",
    ),
    (
        {"model": sf.CIR(), "method": "sra1"},
        ValueError,
        "additive, not diagonal; methods that fit: euler-maruyama, exact, qe, milstein",
    ),
    ({"method": "heun-ito-7"}, ValueError, "method must be one of .*'exact', .*got 'heun-ito-7'$"),
    ({"method": 1}, ValueError, "method must be one of"),
    ({"method": ["exact"]}, ValueError, "method must be one of"),
    ({"model": HESTON, "x0": (1.0, 0.1), "method": "exact"}, ValueError, "Heston has no method 'exact'; it has euler-"),
    ({"dtype": "float16"}, TypeError, "dtype must be 'float32' or 'float64', got 'float16'"),
    ({"dtype": int}, TypeError, "dtype must be 'float32' or 'float64'"),
    ({"dtype": ">f8"}, TypeError, "dtype must be 'float32' or 'float64', got '>f8'"),
    ({"dtype": "complex64"}, TypeError, "dtype must be"),
    ({"dtype": "spam"}, TypeError, "dtype must be"),
    ({"dtype": 3.5}, TypeError, "dtype must be"),
    ({"noise_dtype": "float16"}, TypeError, "noise_dtype must be"),
    ({"dtype": "float32", "noise_dtype": "float64"}, ValueError, "noise_dtype='float64' needs dtype='float64'"),
    ({"seed": -1}, ValueError, "seed must be between 0 and 18446744073709551615, got -1"),
    ({"seed": 2**64}, ValueError, "seed must be between"),
    ({"seed": 1.5}, TypeError, "seed must be an integer, got 1.5"),
    ({"seed": "7"}, TypeError, "seed must be an integer"),
    ({"seed": True}, TypeError, "seed must be an integer"),
    ({"device": "tpu"}, ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
    ({"device": None}, TypeError, "device must be 'cpu', 'cuda' or 'cuda:N', got None"),
    ({"executor": 5}, TypeError, "executor must be a concurrent.futures.Executor, got 5"),
    ({"executor": "threads"}, TypeError, "executor must be a concurrent.futures.Executor"),
    ({"executor": ThreadPoolExecutor}, TypeError, "executor must be a concurrent.futures.Executor"),
    # what
    ({"save_at": "al"}, ValueError, "save_at must be one of .*did you mean 'all'"),
    ({"save_at": "every"}, ValueError, "save_at must be one of"),
    ({"save_at": 0}, ValueError, "save_at must be between"),
    ({"save_at": -2}, ValueError, "save_at must be between"),
    ({"save_at": True}, TypeError, "save_at must be"),
    ({"save_at": 0.5}, TypeError, "save_at must be 'final', 'all'"),
    ({"save_at": None}, TypeError, "save_at must be 'final', 'all'"),
    ({"save_at": None}, TypeError, "save_at must be"),
    ({"save_at": [0.3]}, ValueError, "save_at must hold times of the grid, got 0.3; the nearest is 0.25"),
    ({"paths": "no"}, TypeError, "paths must be True or False, got 'no'"),
    ({"paths": None}, TypeError, "paths must be True or False"),
    ({"moments": 3}, ValueError, "moments must be 2 or 4, got 3"),
    ({"moments": "4"}, ValueError, "moments must be 2 or 4"),
    ({"moments": [2]}, ValueError, "moments must be 2 or 4"),
    ({"moments": 2.5}, ValueError, "moments must be 2 or 4"),
    ({"extremes": "yes"}, TypeError, "extremes must be True or False, got 'yes'"),
    ({"extremes": 1}, TypeError, "extremes must be True or False"),
    ({"covariance": None}, TypeError, "covariance must be True or False"),
    (
        {"resume": 5, **dict.fromkeys(SMALL), "n_steps": 2},
        TypeError,
        "resume must be the result of an earlier simulate",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=lambda value: str(value)[:60])
def test_refused(options, error, message):
    with pytest.raises(error, match=re.compile(message)):
        simulate(**options)


def refusal(**options):
    """The message of an error, or None."""
    try:
        simulate(**options)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("moments", [2.0, np.float64(4), np.array(4)])
def test_moments_that_only_equal_an_integer_are_taken_or_refused(moments):
    message = refusal(moments=moments)
    assert message is None or message.startswith("moments must be")


def test_nothing_is_positional_and_nothing_unknown():
    with pytest.raises(TypeError):
        sf.simulate(OU, 1.0)
    with pytest.raises(TypeError, match="n_step"):
        simulate(n_step=3)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": None, "noise_dtype": None},
        {"dtype": np.float32},
        {"dtype": np.dtype("float32"), "noise_dtype": float} | {"noise_dtype": "float32"},
        {"dtype": float},
        {"dtype": "f8"},
        {"n_paths": np.int32(3), "n_steps": np.uint8(4), "seed": np.uint64(2**64 - 1), "threads": np.int64(1)},
        {"x0": np.float32(1.0), "t1": np.float32(1.0), "t0": -1},
        {"x0": 1, "t1": 1},
        {"t1": Fraction(1, 2)},
        {"x0": [1.0]},
        {"x0": [1.0, 2.0, 3.0]},
        {"x0": [[1.0], [2.0], [3.0]]},
        {"x0": np.ones((3, 1), np.int8)},
        {"x0": np.ones((6, 2))[::2, :1]},
        {"paths": np.True_, "extremes": np.False_},
        {"seed": 0, "first_chain": 2**62},
        {"moments": 2, "extremes": True, "covariance": True},
    ],
    ids=lambda value: str(value)[:60],
)
def test_accepted(options):
    run = simulate(**options)
    assert run.x.shape == (1, 3, 1)
    assert np.isfinite(run.x).all()


@pytest.mark.parametrize(("name", "value"), [("float32", np.float32), ("float64", "d"), ("float64", None)])
def test_the_dtype_is_that_of_the_states(name, value):
    assert simulate(dtype=value).x.dtype == name


def test_starts_of_each_path():
    x0 = np.array([[1.0, 0.5], [2.0, 0.6], [3.0, 0.7]])
    run = simulate(HESTON, x0=x0, save_at="all")
    np.testing.assert_array_equal(run.x[0], x0)
    np.testing.assert_array_equal(simulate(HESTON, x0=x0[1], save_at="all").x[0], np.tile(x0[1], (3, 1)))
    x0[:] = 7.0
    assert run.x[0, 0, 0] == 1.0


def test_a_square_start_is_one_start_per_path():
    """With as many paths as components (d, d) still is (n_paths, d), row by row."""
    x0 = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(simulate(LINEAR, x0=x0, save_at="all").x[0], x0)


def test_the_seed_is_random_and_recorded():
    first, second = (simulate(seed=None, n_paths=50) for _ in range(2))
    assert first.seed != second.seed
    assert (first.x != second.x).any()
    np.testing.assert_array_equal(simulate(seed=first.seed, n_paths=50).x, first.x)


# What cannot fit ---------------------------------------------------------------------------------------------------


def test_a_huge_request_is_refused_with_what_would_fit():
    n = 100_000
    with pytest.raises(MemoryError, match=r"saved states .* GiB .*available.*paths=False.*save_at=\d+") as e:
        simulate(n_steps=n, n_paths=10**7, save_at="all")
    every = int(re.search(r"save_at=(\d+)", str(e.value))[1])
    assert 1 < every <= n
    times = int(re.search(r"saves (\d+) times", str(e.value))[1])
    assert len(range(0, n, every)) + 1 <= times


def test_final_states_alone_that_do_not_fit():
    with pytest.raises(MemoryError, match="paths=False keeps the statistics alone") as e:
        simulate(n_paths=2**45)
    assert "save_at" not in str(e.value)


def test_float32_is_offered_where_it_would_fit(monkeypatch):
    monkeypatch.setattr("sdefast.resources.available_memory", lambda: 2**30)
    with pytest.raises(MemoryError, match="dtype='float32' halves it"):
        simulate(n_paths=2**27 + 2**26, n_steps=1)
    with pytest.raises(MemoryError) as e:
        simulate(n_paths=2**27 + 2**26, n_steps=1, dtype="float32", save_at="all")
    assert "float32" not in str(e.value)


@pytest.mark.parametrize("paths", [True, False])
def test_more_times_than_memory_holds(paths):
    """Not even the list of the saved steps."""
    with pytest.raises(MemoryError, match="save_at="):
        simulate(n_steps=10**12, save_at="all", paths=paths)


# Anything at all ---------------------------------------------------------------------------------------------------

counts = st.integers(1, 40)
times = st.floats(-100, 100)
spans = st.floats(1e-3, 1.0)


@st.composite
def valid(draw):
    model = draw(st.sampled_from([OU, BM, HESTON, LINEAR]))
    n_paths, n_steps = draw(counts), draw(counts)
    shape = draw(st.sampled_from([(model.dim,), (n_paths, model.dim)]))
    t0 = draw(times)
    return model, {
        "x0": np.full(shape, draw(st.floats(0.1, 10))),
        "t0": t0,
        "t1": t0 + draw(spans),
        "n_steps": n_steps,
        "n_paths": n_paths,
        "method": draw(st.sampled_from([None, *model.schemes])),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "noise_dtype": draw(st.sampled_from([None, "float32"])),
        "save_at": draw(st.sampled_from(["final", "all"]) | st.integers(1, 60)),
        "paths": draw(st.booleans()),
        "moments": draw(st.sampled_from([None, 2, 4])),
        "extremes": draw(st.booleans()),
        "covariance": draw(st.booleans()),
        "first_chain": draw(st.integers(0, 2**62)),
        "threads": draw(st.sampled_from([None, 1, 2])),
    }


def n_saved(save_at, n_steps):
    if save_at == "final":
        return 1
    return n_steps + 1 if save_at == "all" else -(-n_steps // save_at) + 1


@given(valid())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_valid_arguments_give_finite_results_of_the_right_shapes(case):
    model, arguments = case
    run = sf.simulate(model, **arguments)
    n_times = n_saved(arguments["save_at"], arguments["n_steps"])
    assert run.t.shape == (n_times,)
    assert (np.diff(run.t) > 0).all()
    assert run.mean.shape == run.variance.shape == (n_times, model.dim)
    assert np.isfinite(run.mean).all()
    assert (run.n_nonfinite == 0).all()
    assert (arguments["n_paths"] == 1) == np.isnan(run.variance).any()
    if arguments["paths"]:
        assert run.x.shape == (n_times, arguments["n_paths"], model.dim)
        assert run.x.dtype == arguments["dtype"]
        assert np.isfinite(run.x).all()
    else:
        with pytest.raises(AttributeError, match="paths=False"):
            _ = run.x


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 50)
    | st.sampled_from([2**31, 2**32, 2**53, 2**63, 2**64, 10**30, 10**400, -(2**63)])
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.sampled_from(["all", "final", "exact", "float32", "cpu", "f4,f4", "<f8", "O", "3f8", "datetime64[s]"])
    | st.lists(st.floats(), max_size=4)
    | st.lists(st.lists(st.floats(), max_size=2), max_size=4)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
    | st.sampled_from([object(), int, float, len, np.float16, np.zeros((0, 1)), np.array(["a"]), np.array([None]), OU])
)
NAMES = [
    "x0", "t1", "n_steps", "n_paths", "t0", "times", "method", "seed", "dtype", "noise_dtype", "save_at", "paths",
    "moments", "extremes", "covariance", "first_chain", "device", "threads", "executor", "resume",
]  # fmt: skip


def is_much_work(name, value):
    """Valid and within memory, and longer than a test should run."""
    return name in ("n_paths", "n_steps") and isinstance(value, int) and 10_000 < value < 2**45


@pytest.mark.filterwarnings("ignore:.*(no longer finite|statistics overflow):RuntimeWarning")
@given(st.sampled_from(NAMES), anything, st.sampled_from([(OU, 1.0), (HESTON, (1.0, 0.2)), (BS, 1.0)]))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_whatever_is_passed_is_run_or_refused(name, value, model):
    assume(not is_much_work(name, value))
    model, x0 = model
    arguments = {**SMALL, "x0": x0, "save_at": "all" if name == "n_steps" else "final", name: value}
    try:
        run = sf.simulate(model, **arguments)
    except (ValueError, TypeError, MemoryError) as error:
        assert str(error)  # noqa: PT017 - running is right too
    else:
        assert run.mean.shape[1] == model.dim
