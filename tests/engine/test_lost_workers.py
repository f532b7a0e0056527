"""What was with a worker that is lost is run again; errors of the run itself are told at once."""

import asyncio
import concurrent.futures
import io
import multiprocessing
import os
import signal
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest
from conftest import EVERYTHING, assert_same_bits

import sdefast as sf
from sdefast.engine import executors, tiles
from sdefast.engine.tiles import BLOCK
from sdefast.run.where import Outcome

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LOST = r"a worker of ProcessPoolExecutor was lost, which ends the pool: what is left .* goes on in threads"


def simulate(**how):
    """Twelve tiles on executors of other processes."""
    settings = {"t1": 1.0, "n_steps": 300, "n_paths": 11 * BLOCK + 7, "seed": 2, "save_at": 100}
    return sf.simulate(sf.Heston(), x0=(1.0, 0.04), **{**settings, **EVERYTHING, **how})


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "REMOTE_TILE", 1)


@pytest.fixture(scope="module")
def expected():
    return simulate(threads=1)


@pytest.fixture
def pool():
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        yield pool


def pid(_):
    time.sleep(0.05)
    return os.getpid()


def kill(pool, process):
    """Until the pool knows, or for some seconds where what it reads of the process has no end."""
    os.kill(process, signal.SIGKILL)
    end = time.monotonic() + 5
    while not pool._broken and time.monotonic() < end:
        time.sleep(0.001)


@pytest.mark.parametrize("after", [1, 3])
def test_a_worker_is_killed_in_the_middle(after, pool, expected, monkeypatch):
    """Eight tiles are with the pool at a time: after three of twelve one has not come there yet, however fast it is."""
    workers, merged, add = list(pool.map(pid, range(2))), [], Outcome.add

    def killing(self, whole, result):
        merged.append((result.first_chain, result.n_chains))
        if len(merged) == after:
            kill(pool, workers[0])
        add(self, whole, result)

    monkeypatch.setattr(Outcome, "add", killing)
    with pytest.warns(RuntimeWarning, match=LOST) as told:
        run = simulate(executor=pool)
    assert len(told) == 1
    assert sorted(merged) == [(i * BLOCK, 7 if i == 11 else BLOCK) for i in range(12)], "each tile once"
    assert_same_bits(run, expected)


class Stuck(Executor):
    """A pool one of whose processes was killed while it handed over a result: after two tiles nothing comes."""

    class Process:
        exitcode, killed = -9, False

        def kill(self):
            self.killed = True

    def __init__(self):
        self._processes, self._broken, self.done = {1: self.Process()}, False, 0
        self._result_queue = SimpleNamespace(_writer=io.BytesIO())

    def submit(self, function, /, *args, **options):
        future = Future()
        self.done += 1
        if self.done <= 2:
            future.set_result(function(*args, **options))
        return future


def test_a_pool_that_says_nothing_any_more(expected, monkeypatch):
    monkeypatch.setattr(executors, "LOOK", 0.01)
    pool = Stuck()
    with pytest.warns(RuntimeWarning, match="a worker of Stuck was lost") as told:
        assert_same_bits(simulate(executor=pool), expected)
    assert len(told) == 1
    assert pool._processes[1].killed
    assert pool._result_queue._writer.closed


def test_a_pool_that_broke_while_it_took_a_tile(expected, monkeypatch):
    """The tile's future never ends; those of others say that the pool is broken."""
    monkeypatch.setattr(executors, "LOOK", 0.01)

    class Breaking(Stuck):
        def submit(self, function, /, *args, **options):
            future = super().submit(function, *args, **options)
            if self.done == 3:
                future.set_exception(BrokenProcessPool("broken"))
            return future

    with pytest.warns(RuntimeWarning, match="a worker of Breaking was lost"):
        assert_same_bits(simulate(executor=Breaking()), expected)


def test_a_pool_that_is_broken_before(pool, expected):
    with pytest.raises(BrokenProcessPool):
        pool.submit(os.kill, os.getpid(), 0).result() or pool.submit(os._exit, 1).result()
    with pytest.warns(RuntimeWarning, match=LOST):
        assert_same_bits(simulate(executor=pool), expected)


def test_progress_is_told_of_what_threads_do(pool, expected, capfd):
    with pytest.raises(BrokenProcessPool):
        pool.submit(os._exit, 1).result()
    with pytest.warns(RuntimeWarning, match=LOST):
        simulate(executor=pool, progress=True)
    assert "Heston: 100%" in capfd.readouterr().err


class KilledWorker(Exception):  # noqa: N818  as distributed.scheduler calls it
    pass


class Cluster(Executor):
    """Runs what it is given at once, but the first so many tries of every tile fail."""

    def __init__(self, failures, error):
        self.failures, self.error, self.tries = failures, error, {}

    def submit(self, function, tile, *others):
        tries = self.tries[tile.first_chain] = self.tries.get(tile.first_chain, 0) + 1
        future = Future()
        if tries > self.failures:
            future.set_result(function(tile, *others))
        elif self.error is None:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("error", [KilledWorker("it"), asyncio.CancelledError(), None])
@pytest.mark.parametrize("failures", [1, 3])
def test_tiles_of_a_lost_worker_are_submitted_again(error, failures, expected):
    cluster = Cluster(failures, error)
    assert_same_bits(simulate(executor=cluster, threads=2), expected)
    assert cluster.tries == {i * BLOCK: failures + 1 for i in range(12)}


@pytest.mark.parametrize("error", [KilledWorker("it"), None])
def test_three_times_and_no_more(error):
    cluster = Cluster(4, error)
    with pytest.raises(type(error) if error else concurrent.futures.CancelledError):
        simulate(executor=cluster, threads=2)
    assert max(cluster.tries.values()) == executors.TRIES == 4


@pytest.mark.parametrize("error", [MemoryError("no such luck"), ValueError("no such luck"), KeyboardInterrupt()])
def test_errors_of_the_run_are_told_at_once(error):
    cluster = Cluster(1, error)
    with pytest.raises(type(error)):
        simulate(executor=cluster, threads=2)
    assert set(cluster.tries.values()) == {1}


def test_a_broken_pool_of_threads_is_an_error():
    def failing():
        raise RuntimeError("no such luck")

    with ThreadPoolExecutor(2, initializer=failing) as pool, pytest.raises(concurrent.futures.BrokenExecutor):
        simulate(executor=pool)
