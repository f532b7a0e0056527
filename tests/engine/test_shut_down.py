"""An executor that its owner shuts down during a run ends the run with an error that names it, and nobody waits."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from conftest import EVERYTHING

import sdefast as sf
from sdefast.engine import tiles
from sdefast.engine.tiles import BLOCK
from sdefast.run.where import Outcome

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SOON = 20.0  # seconds until something must hang


def simulate(**how):
    settings = {"t1": 1.0, "n_steps": 300, "n_paths": 24 * BLOCK, "seed": 2, "save_at": 100}
    return sf.simulate(sf.Heston(), x0=(1.0, 0.04), **{**settings, **EVERYTHING, **how})


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "REMOTE_TILE", 1)
    monkeypatch.setattr(tiles, "CALL", 1)


def fork_pool(n):
    return ProcessPoolExecutor(n, multiprocessing.get_context("fork"))


def outcome_of(call):
    """What a call returns or raises, if that is soon."""
    came = []

    def run():
        try:
            came.append(call())
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SOON)
    assert came, "the run hangs"
    return came[0]


def shut_down_after(n_results, pool, monkeypatch, **how):
    """Shut a pool down from another thread than the run's and its workers', once so many tiles are merged."""
    merged, add = [], Outcome.add

    def counted(self, whole, result):
        merged.append(result.first_chain)
        if len(merged) == n_results:
            closing = threading.Thread(target=pool.shutdown, kwargs=how)
            closing.start()
            closing.join()
        add(self, whole, result)

    monkeypatch.setattr(Outcome, "add", counted)


MESSAGE = r"{} takes no more of the run's tiles: cannot schedule new futures after shutdown"


@pytest.mark.parametrize("make", [ThreadPoolExecutor, fork_pool])
@pytest.mark.parametrize("cancels", [True, False])
@pytest.mark.parametrize("n_results", [1, 5])
def test_in_the_middle(make, cancels, n_results, monkeypatch):
    pool = make(2)
    shut_down_after(n_results, pool, monkeypatch, cancel_futures=cancels, wait=False)
    error = outcome_of(lambda: simulate(executor=pool, threads=2))
    with pytest.raises(RuntimeError, match=MESSAGE.format(type(pool).__name__)):
        raise error


@pytest.mark.parametrize("make", [ThreadPoolExecutor, fork_pool])
def test_when_all_tiles_are_submitted(make, monkeypatch):
    """Those that are cancelled are missing; nothing else would be submitted any more."""
    pool = make(2)
    shut_down_after(1, pool, monkeypatch, cancel_futures=True, wait=False)
    error = outcome_of(lambda: simulate(executor=pool, threads=24, n_steps=3000))
    with pytest.raises(RuntimeError, match=MESSAGE.format(type(pool).__name__)):
        raise error


def test_when_nothing_is_missing(monkeypatch):
    """All tiles are with the pool, which ends when it has done them."""
    pool = ThreadPoolExecutor(2)
    expected = simulate(threads=1)
    shut_down_after(1, pool, monkeypatch, wait=False)
    run = outcome_of(lambda: simulate(executor=pool, threads=24))
    assert run.mean.tobytes() == expected.mean.tobytes()


def test_before_the_run():
    pool = ThreadPoolExecutor(2)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=MESSAGE.format("ThreadPoolExecutor")):
        simulate(executor=pool)


def test_from_a_worker(monkeypatch):
    """As a progress bar may, which threads call."""
    pool, told = ThreadPoolExecutor(2), []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, done):
            told.append(done)
            if len(told) == 3:
                pool.shutdown(wait=False, cancel_futures=True)

    monkeypatch.setattr("sdefast.sde.simulate.progress_bar", lambda *_: Bar())
    error = outcome_of(lambda: simulate(executor=pool, threads=24, n_steps=3000, progress=True))
    with pytest.raises(RuntimeError, match=MESSAGE.format("ThreadPoolExecutor")):
        raise error


def test_what_was_done_is_in_the_checkpoint(tmp_path, monkeypatch):
    file, pool = tmp_path / "run.npz", ThreadPoolExecutor(2)
    expected = simulate(threads=1)
    with monkeypatch.context() as patch:
        shut_down_after(5, pool, patch, cancel_futures=True, wait=False)
        error = outcome_of(lambda: simulate(executor=pool, checkpoint=file))
    assert isinstance(error, RuntimeError)
    resumed = simulate(checkpoint=file)
    assert 0 < resumed.cost.found < 1
    assert resumed.x.tobytes() == expected.x.tobytes()
