"""Ctrl-C ends a run soon and leaves no workers; progress is shown where it was asked for."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.engine.running import run_tile

SOON = 5.0  # seconds until something must hang; Ctrl-C takes a fraction of one

LONG_RUN = """
import multiprocessing, os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
import sdefast as sf

def simulate(n_steps, **options):
    print("running", flush=True)
    sf.simulate(sf.Heston(), x0=(1.0, 0.04), t1=1.0, n_steps=n_steps, n_paths=10**8, seed=0, paths=False, **options)

def run(kind):
    if kind != "processes":
        simulate(10_000_000, threads=int(kind))  # a block of paths alone would take minutes
        return
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        print(*pool.map(pid, range(2)), flush=True)
        try:
            simulate(20_000, executor=pool)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            raise

def pid(_):
    time.sleep(0.1)  # until both workers have started
    return os.getpid()

# What runs the tests may have been told to ignore Ctrl-C, as shells tell what they start in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    run(sys.argv[1])
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.exit(3)
"""


@contextmanager
def long_run(kind):
    """A process that would run for minutes, once it does; killed with all its children if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_RUN, kind], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(line, process):
    lines = []
    for text in process.stdout:
        lines.append(text.strip())
        if lines[-1] == line:
            return lines[:-1]
    raise AssertionError(f"ended after {lines}")


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("threads", thorough_but([2], [1, 2]))
def test_ctrl_c_ends_threads(threads):
    with long_run(str(threads)) as process:
        wait_until("running", process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 3
        assert process.stdout.read() == "stopped\n"


def test_long_iterations_stop_within_a_call(monkeypatch):
    """Steps on many parameters and samples, of which a thousand would take minutes."""
    X = np.random.default_rng(0).standard_normal((4, 4000))
    problem = sf.LeastSquares(data=(X, np.ones(4)))
    settings = {"step_size": 1e-5, "n_steps": 1000, "n_runs": 64, "batch_size": 1024, "save_at": "final", "seed": 1}
    asked = []
    monkeypatch.setattr("sdefast.run.where.Where.run", lambda self, whole, *others: asked.append(whole) or sys.exit())
    with pytest.raises(SystemExit):
        sf.sgd(problem, **settings)
    abort = np.zeros(1, np.uint8)
    worker = threading.Thread(target=run_tile, args=(asked[0], None, abort), daemon=True)
    worker.start()
    time.sleep(0.3)
    abort[0] = 1
    worker.join(SOON)
    assert not worker.is_alive()


@pytest.mark.parametrize(
    "all_of_them",
    thorough_but([True], [False, True]),
    ids=["the caller", "the whole process group, as a terminal does"],
)
def test_ctrl_c_ends_a_process_pool(all_of_them):
    with long_run("processes") as process:
        lines = wait_until("running", process)
        workers = [int(word) for word in lines[0].split()]
        assert len(set(workers)) == 2
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT) if all_of_them else process.send_signal(signal.SIGINT)
        started = time.monotonic()
        wait_until("interrupted", process)
        assert process.wait(SOON) == 3, "the pool waits for the tiles that its workers have"
        assert time.monotonic() - started < SOON
        assert not any(map(is_alive, workers))


def test_an_error_in_a_worker_reaches_the_caller_and_the_pool_goes_on(monkeypatch):
    settings = {"x0": 0.0, "t1": 1.0, "n_steps": 2000, "n_paths": 9000, "seed": 0, "threads": 2}
    expected = sf.simulate(sf.BrownianMotion(), **settings)

    def failing(*_):
        raise RuntimeError("no such luck")

    with monkeypatch.context() as patch:
        patch.setattr("sdefast.engine.running._run_chunk", failing)
        with pytest.raises(RuntimeError, match="no such luck"):
            sf.simulate(sf.BrownianMotion(), **settings)
    np.testing.assert_array_equal(sf.simulate(sf.BrownianMotion(), **settings).x, expected.x)


@pytest.mark.parametrize("threads", thorough_but([2], [1, 2]))
def test_progress_is_a_bar_on_stderr(threads, capfd):
    settings = {"x0": 0.0, "t1": 1.0, "n_steps": 500, "n_paths": 50_000, "seed": 0, "threads": threads}
    shown = sf.simulate(sf.BrownianMotion(), progress=True, **settings)
    out, err = capfd.readouterr()
    assert out == ""
    assert "BrownianMotion: 100%" in err
    assert "25.0M/25.0M" in err
    np.testing.assert_array_equal(sf.simulate(sf.BrownianMotion(), **settings).x, shown.x)
    assert capfd.readouterr() == ("", "")
