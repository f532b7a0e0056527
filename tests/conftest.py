"""What several test modules share: every model with a start, all outputs of a run, fresh interpreters."""

import atexit
import ctypes
import gc
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import Executor, Future

# xdist's workers share the cores already: threads of matrix products would wait for one another.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402  (it reads these when it is first imported)
import pytest  # noqa: E402

import sdefast as sf  # noqa: E402

# What the tests and processes that they start compile is kept for the tests alone, in one folder for all of xdist's
# workers: they inherit it from the process that starts them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["SDEFAST_TESTS_DIR"] = tempfile.mkdtemp(prefix="sdefast-tests-")
    atexit.register(shutil.rmtree, os.environ["SDEFAST_TESTS_DIR"], ignore_errors=True)
os.environ["SDEFAST_CACHE_DIR"] = os.path.join(os.environ["SDEFAST_TESTS_DIR"], "kernels")


def pytest_collection_finish():
    """What collecting the tests has made stays to the end; no search for garbage need look at it, nor be frequent."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def has_gpu():
    """Whether a CUDA driver finds a card."""
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


# Without a card, what runs on one runs in numba's simulator; numba reads this when it is first imported.
if not has_gpu():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")
    sys.setswitchinterval(1e-4)  # the simulator's threads wait for one another

#: (state, noise): every combination of types that a run may have
TYPES = [("float32", "float32"), ("float64", "float64"), ("float64", "float32")]

#: three components on three noises: no batch or pair of normals holds a whole number of steps
LINEAR = sf.LinearSDE(
    A=[[-1.0, 0.5, 0.0], [-0.5, -1.0, 0.2], [0.1, 0.0, -0.7]],
    b=[0.3, -0.2, 0.1],
    B=[[0.5, 0.1, 0.0], [0.2, 0.4, -0.3], [0.0, 0.1, 0.6]],
)

#: name -> model and a start at which neither square roots nor absorption are in reach of a path of length 1
MODELS = {
    "brownian": (sf.BrownianMotion(mu=0.4, sigma=0.7), 0.5),
    "ou": (sf.OrnsteinUhlenbeck(kappa=1.3, theta=0.4, sigma=0.8), 1.5),
    "black-scholes": (sf.BlackScholes(mu=0.1, sigma=0.3), 2.0),
    "cir": (sf.CIR(kappa=1.2, theta=1.5, sigma=0.3), 1.0),
    "cev": (sf.CEV(mu=0.1, sigma=0.2, beta=0.7), 2.0),
    "heston": (sf.Heston(mu=0.1, kappa=1.5, theta=0.5, xi=0.2, rho=-0.6), (2.0, 0.6)),
    "double-well": (sf.DoubleWell(barrier=0.5, width=1.2, temperature=0.3), -1.0),
    "linear": (LINEAR, (1.0, -1.0, 0.5)),
}

#: models whose steps meet the border of the state space all the time: below 0 (full truncation) or on it (absorption)
BORDERS = {
    "cir": (sf.CIR(kappa=0.8, theta=0.1, sigma=1.0), 0.05),
    "cir from 0": (sf.CIR(kappa=2.0, theta=0.3, sigma=1.5), 0.0),
    "heston": (sf.Heston(mu=0.1, kappa=1.2, theta=0.1, xi=1.2, rho=-0.6), (2.0, 0.05)),
    "heston from 0": (sf.Heston(mu=-0.3, kappa=2.0, theta=0.2, xi=1.5, rho=0.7), (1.0, 0.0)),
    "cev": (sf.CEV(mu=0.1, sigma=0.4, beta=0.5), 0.1),
    "cev, steep": (sf.CEV(mu=-0.2, sigma=0.9, beta=0.3), 0.5),
}

#: every model with every method that it has
MODEL_METHODS = [(name, method) for name, (model, _) in MODELS.items() for method in model.schemes]

#: all statistics that there are
EVERYTHING = {"moments": 4, "extremes": True, "covariance": True}

OUTPUTS = ("t", "n_nonfinite", "mean", "variance", "skewness", "kurtosis", "minimum", "maximum", "covariance")


def thorough_but(some, values):
    """Parameters of a test: ``some`` of the values are for every run of the tests, the others for the thorough one."""
    some = list(some)
    assert all(value in values for value in some)
    marked = pytest.mark.thorough
    return [
        value if value in some else pytest.param(*(value if isinstance(value, tuple) else [value]), marks=marked)
        for value in values
    ]


def in_both_types(names):
    """Parameters (name, dtype) of a test: every name in one type or the other, and in both if tests are thorough."""
    types = ("float64", "float32")
    return thorough_but(
        [(name, types[i % 2]) for i, name in enumerate(names)], [(name, dtype) for name in names for dtype in types]
    )


@pytest.fixture(scope="session")
def machines():
    """The machine that executes the PTX of a program, which is compiled when it is first asked for."""
    from cards import Machines  # (it imports numba-cuda)

    with Machines() as made:
        yield made


class Elsewhere(Executor):
    """An executor whose workers share no memory with the caller, and are nevertheless quick to start."""

    def submit(self, function, /, *args, **options):
        done = Future()
        function, args, options = pickle.loads(pickle.dumps((function, args, options)))
        done.set_result(pickle.loads(pickle.dumps(function(*args, **options))))
        return done


def outputs(run):
    """All numbers of a run that was made with `EVERYTHING`, by name."""
    states = {"x": run.x} if run.settings.keeps_states else {}
    return states | {name: getattr(run, name) for name in OUTPUTS}


def assert_same_bits(run, expected):
    have, want = outputs(run), outputs(expected)
    assert have.keys() == want.keys()
    for name in want:
        assert have[name].shape == want[name].shape, name
        assert have[name].tobytes() == want[name].tobytes(), name


def python(code, *arguments, **environment):
    """What a fresh interpreter prints that runs ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def worst_z(value, expected, standard_error):
    """The largest distance from what is expected, in standard errors."""
    return float(np.max(np.abs(np.asarray(value) - expected) / standard_error))
