"""Wrong input to the noise functions is refused by TypeError or ValueError naming the argument."""

import re

import numpy as np
import pytest

from sdefast import noise

MOST_DRAWS, MOST_COUNT, MOST_SEED = 2**40, 2**62, 2**64 - 1
COUNT_OF = {"normals": "n_draws", "uniforms": "n_draws", "words": "n_words", "brownian": None}
FIRST_OF = {"normals": "first_draw", "uniforms": "first_draw", "words": "first_word", "brownian": "first_step"}
FUNCTIONS = tuple(COUNT_OF)


def call(function, **changes):
    """A good call with some arguments replaced."""
    first = "times" if function == "brownian" else COUNT_OF[function]
    good = {"seed": 1, first: [0.0, 1.0] if function == "brownian" else 4, "n_chains": 2}
    return getattr(noise, function)(**(good | changes))


def no_integer(name, value):
    return name, value, TypeError, f"{name} must be an integer, got {value!r}"


def outside(name, value, least, most):
    return name, value, ValueError, f"{name} must be between {least} and {most}, got {value}"


def bad_integers(name, least, most):
    """What every integer argument refuses."""
    wrong = [1.0, 1.5, "1", None, True, np.bool_(False), np.float64(2), [1], np.array([1, 2])]
    return [*(no_integer(name, value) for value in wrong), outside(name, least - 1, least, most),
            outside(name, most + 1, least, most), outside(name, -(2**70), least, most)]  # fmt: skip


CASES = [
    *((f, *case) for f in FUNCTIONS for case in bad_integers("seed", 0, MOST_SEED)),
    *((f, *case) for f in FUNCTIONS for case in bad_integers("n_chains", 0, MOST_COUNT)),
    *((f, *case) for f in FUNCTIONS for case in bad_integers("first_chain", 0, MOST_COUNT)),
    *((f, *case) for f in FUNCTIONS for case in bad_integers(FIRST_OF[f], 0, MOST_DRAWS)),
    *((f, *case) for f in FUNCTIONS[:3] for case in bad_integers(COUNT_OF[f], 0, MOST_DRAWS)),
    *(("words", *case) for case in bad_integers("stream", 0, 2**32 - 1)),
    *(("brownian", *case) for case in bad_integers("dim", 1, MOST_COUNT)),
]


@pytest.mark.parametrize(("function", "name", "value", "error", "message"), CASES)
def test_integers(function, name, value, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(function, **{name: value})


@pytest.mark.parametrize("function", ["normals", "uniforms", "brownian"])
@pytest.mark.parametrize(
    "dtype", ["float16", "int32", "complex128", "f8", "double", "", None, 64, int, np.longdouble, object, ">f4", [1]]
)
def test_dtypes(function, dtype):
    if dtype in ("f8", "double"):  # numpy's other names for float64
        assert call(function, dtype=dtype).dtype == np.float64
        return
    with pytest.raises(TypeError, match=f"^dtype must be 'float32' or 'float64', got {re.escape(repr(dtype))}$"):
        call(function, dtype=dtype)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        ([], ValueError, "times must hold at least 2 times, got 0"),
        ([1.0], ValueError, "times must hold at least 2 times, got 1"),
        (1.0, ValueError, "times must have shape (any,), got ()"),
        ([[0.0, 1.0]], ValueError, "times must have shape (any,), got (1, 2)"),
        ([0.0, 2.0, 1.0], ValueError, "times must be strictly increasing, got 2.0 followed by 1.0 at index 2"),
        ([0.0, 0.0, 1.0], ValueError, "times must be strictly increasing, got 0.0 followed by 0.0 at index 1"),
        ([1.0, 0.0], ValueError, "times must be strictly increasing, got 1.0 followed by 0.0 at index 1"),
        ([0.0, np.nan, 1.0], ValueError, "times must be finite, got [0.0, nan, 1.0]"),
        ([0.0, np.inf], ValueError, "times must be finite, got [0.0, inf]"),
        (["a", "b"], TypeError, "times must be an array of real numbers, got ['a', 'b']"),
        ([0.0, 1j], TypeError, "times must be an array of real numbers, got [0.0, 1j]"),
        (None, TypeError, "times must be an array of real numbers, got None"),
        ({"t": 1}, TypeError, "times must be an array of real numbers, got {'t': 1}"),
    ],
)
def test_times(times, error, message):
    with pytest.raises(error, match="^times must" if message is None else f"^{re.escape(message)}$"):
        call("brownian", times=times)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_options_are_keywords(function):
    first = [0.0, 1.0] if function == "brownian" else 4
    with pytest.raises(TypeError, match="positional argument"):
        getattr(noise, function)(1, first, 2, 0)


def test_first_step_and_dim_stay_within_the_draws_of_a_chain():
    most = MOST_DRAWS // 8
    assert call("brownian", dim=8, first_step=most).shape == (2, 2, 8)
    with pytest.raises(ValueError, match=f"^first_step must be between 0 and {most}, got {most + 1}$"):
        call("brownian", dim=8, first_step=most + 1)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_numpy_integers_and_the_ends_are_welcome(function):
    options = {
        "seed": np.uint64(MOST_SEED),
        "n_chains": np.int32(3),
        "first_chain": MOST_COUNT,
        FIRST_OF[function]: 2**40,
    }
    assert call(function, **options).shape[1] == 3
    assert call(function, seed=0, n_chains=0).shape[1] == 0


@pytest.mark.parametrize("function", FUNCTIONS[:3])
def test_no_draws(function):
    assert call(function, **{COUNT_OF[function]: 0}).shape == (0, 2)
