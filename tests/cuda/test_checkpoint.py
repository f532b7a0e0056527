"""A run on a GPU goes on from its checkpoint to the bits of one that was never stopped."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import EVERYTHING, thorough_but
from run import checkpointed

import sdefast as sf
from sdefast.cuda import run as cuda_run
from sdefast.cuda import target
from sdefast.engine.tiles import BLOCK
from sdefast.run import checkpoint

_ROWS = np.random.default_rng(2).standard_normal((50, 4))
PROBLEM = sf.LeastSquares(data=(_ROWS[:, :3], _ROWS[:, 3]))


def paths(**how):
    """A carried row, an observer, a histogram, saves between the ends of launches."""
    model = sf.SDE(lambda t, x, p: -p.k * x[0], lambda t, x, p: (0.3,), params={"k": 2.0})
    settings = {
        "x0": 1.0, "t1": 4.0, "n_steps": 40, "n_paths": 70, "seed": 6, "save_at": 7, "dtype": "float32",
        "histogram": (0.0, 1.0, 5), "functionals": {"highest": sf.functionals.running_max()},
        "expectations": {"square": lambda t, x, p, y: x[0] * x[0] + y.highest}, "device": "cuda", **EVERYTHING,
    }  # fmt: skip
    return sf.simulate(model, **{**settings, **how})


def descents(**how):
    """Rows of data, averages, final rows, and runs that are kept, which run once more."""
    settings = {
        "step_size": 0.02, "n_steps": 40, "n_runs": 70, "seed": 7, "save_at": 7, "runs": [1, 2, 50],
        "averaging": "polyak-ruppert", "histogram": (-1.0, 1.0, 5), "device": "cuda",
    }  # fmt: skip
    return sf.sgd(PROBLEM, **{**settings, **how})


CALLS = {call.__name__: call for call in (paths, descents)}


def numbers(result):
    """All that a result has."""
    totals = [g.layout.total(nodes) for g, nodes in zip(result.settings.gathering.all, result._nodes, strict=True)]
    others = [result._states, result._counts, result._final, getattr(result, "_theta", None)]
    return [np.asarray(array).tobytes() for array in (*totals, *others) if array is not None]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.npz"


@pytest.fixture
def write_always(monkeypatch):
    checkpointed.write_always(monkeypatch.setattr)


class Stopped(Exception):  # noqa: N818  an end, not an error
    """What ends a run too soon."""


class Launches:
    """Three or so steps each, which are counted; the run is stopped before one of them."""

    def __init__(self, monkeypatch, chains=BLOCK):
        self.done, self.last, self.advance = 0, None, cuda_run._Run._advance
        monkeypatch.setattr(cuda_run, "LAUNCH", 3 * chains)
        monkeypatch.setattr(cuda_run._Run, "_advance", lambda *arguments: self(*arguments))

    def __call__(self, *arguments):
        if self.done == self.last:
            raise Stopped
        self.advance(*arguments)
        self.done += 1


@pytest.mark.thorough
@pytest.mark.usefixtures("quick", "write_always")
@pytest.mark.parametrize("last", thorough_but([5], [1, 5]))
def test_no_launch_is_done_again(last, file, monkeypatch, caplog):
    expected = numbers(paths())
    launches = Launches(monkeypatch)
    whole = paths()
    count = launches.done
    assert count > 8
    launches.done, launches.last = 0, last
    with pytest.raises(Stopped):
        paths(checkpoint=file)
    launches.done, launches.last = 0, None
    resumed = paths(checkpoint=file)
    assert launches.done == count - last
    assert numbers(resumed) == numbers(whole) == expected
    assert type(resumed.x) is type(whole.x)
    assert 0 < resumed.cost.found < 1
    assert "% from a checkpoint" in repr(resumed)
    assert [r.levelname for r in caplog.records if "goes on from checkpoint" in r.getMessage()] == ["WARNING"]
    again = paths(checkpoint=file)
    assert launches.done == count - last
    assert numbers(again) == expected


@pytest.mark.usefixtures("quick", "write_always")
@pytest.mark.parametrize(
    ("name", "keeps"),
    thorough_but([("paths", False), ("descents", True)], [(name, keeps) for name in CALLS for keeps in (True, False)]),
)
def test_stopped_again_and_again(name, keeps, file, monkeypatch):
    """Also where a run has no states to keep."""
    how = {} if keeps else {"paths": False} if name == "paths" else {"final_states": False, "runs": 0}
    expected = numbers(CALLS[name](**how))
    launches, stops = Launches(monkeypatch), 0
    while True:
        launches.done, launches.last = 0, 4
        try:
            resumed = CALLS[name](checkpoint=file, **how)
        except Stopped:
            stops += 1
            continue
        break
    assert numbers(resumed) == expected
    assert stops > 1


@pytest.mark.usefixtures("quick", "write_always")
def test_an_error_in_the_progress_bar(file, monkeypatch):
    expected, told = numbers(paths()), []

    def update(done):
        told.append(done)
        if len(told) == 4:
            raise Stopped

    @contextmanager
    def bar(*arguments):
        yield SimpleNamespace(update=update)

    Launches(monkeypatch)
    monkeypatch.setattr("sdefast.sde.simulate.progress_bar", bar)
    with pytest.raises(Stopped):
        paths(checkpoint=file)
    told.append(None)
    before = len(told)
    resumed = paths(checkpoint=file)
    assert numbers(resumed) == expected
    assert sum(told[before:]) == 70 * 40  # what was done before is told first
    assert told[before] > 3 * 70


@pytest.mark.usefixtures("quick")
def test_written_when_it_is_time(file, monkeypatch):
    """The card is not waited for in between."""
    monkeypatch.setattr(checkpoint, "SECONDS", 1e9)  # (on a slow machine the usual second has passed by then)
    launches = Launches(monkeypatch)
    launches.last = 5
    with pytest.raises(Stopped):
        paths(checkpoint=file)
    assert not file.exists()


KILLED = """
import os, signal, sys
from cuda.test_checkpoint import CALLS
from run.checkpointed import write_always
from sdefast.cuda import run
from sdefast.engine.tiles import BLOCK
from sdefast.run import checkpoint

write_always()
run.LAUNCH, done, advance = 3 * BLOCK, [], run._Run._advance

def killed(*arguments):
    if len(done) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    advance(*arguments)
    done.append(None)

run._Run._advance = killed
CALLS[sys.argv[1]](checkpoint=sys.argv[2], n_steps=20)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", CALLS)
def test_killed(name, file):
    folder = os.path.dirname(os.path.dirname(__file__))
    environment = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run([sys.executable, "-c", KILLED, name, str(file)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = CALLS[name](checkpoint=file, n_steps=20)
    assert resumed.cost.found > 0
    assert numbers(resumed) == numbers(CALLS[name](n_steps=20))


@pytest.mark.usefixtures("quick", "write_always")
@pytest.mark.skipif(not target.SIMULATED, reason="on a card a test would need as many chains as it holds")
@pytest.mark.parametrize("most", thorough_but([BLOCK], [BLOCK, 4 * BLOCK]))
def test_ranges_of_chains(most, file, monkeypatch):
    """Three ranges, the second of which is stopped in the middle: it goes on, or runs anew where memory is shorter."""

    def run(**how):
        return sf.simulate(
            sf.OrnsteinUhlenbeck(), x0=1.0, t1=1.0, n_steps=6, n_paths=5 * BLOCK + 100, first_chain=3 * BLOCK, seed=1,
            dtype="float32", save_at=2, device="cuda", histogram=(0.0, 1.0, 4), covariance=True, **how,
        )  # fmt: skip

    expected = numbers(run())
    for name in ("MOST_CHAINS", "LEAST_CHAINS"):
        monkeypatch.setattr(cuda_run, name, 2 * BLOCK)
    launches = Launches(monkeypatch, 2 * BLOCK)
    launches.last = 3
    with pytest.raises(Stopped):
        run(checkpoint=file)
    for name in ("MOST_CHAINS", "LEAST_CHAINS"):
        monkeypatch.setattr(cuda_run, name, most)
    launches.done, launches.last = 0, None
    resumed = run(checkpoint=file)
    assert numbers(resumed) == expected
    assert resumed.cost.found == pytest.approx((2 * BLOCK * 6 + 2 * BLOCK * 3) / (6 * (5 * BLOCK + 100)), rel=1e-12)


@pytest.mark.usefixtures("quick")
def test_of_the_other_device_it_is_refused(file):
    paths(checkpoint=file)
    with pytest.raises(ValueError, match="device is 'cuda' there and 'cpu' here"):
        paths(checkpoint=file, device="cpu")
    file.unlink()
    paths(checkpoint=file, device="cpu")
    with pytest.raises(ValueError, match="device is 'cpu' there and 'cuda' here"):
        paths(checkpoint=file)


@pytest.mark.skipif(not target.SIMULATED, reason="a card is larger")
@pytest.mark.usefixtures("quick", "write_always")
def test_states_that_do_not_fit_on_the_card_stay_on_the_host(file, monkeypatch):
    expected = numbers(paths())
    monkeypatch.setattr(target.Device, "free_memory", lambda self: 4000)
    for run in (paths(), paths(checkpoint=file)):
        assert isinstance(run.x, np.ndarray)
        assert numbers(run) == expected
