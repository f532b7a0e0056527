"""Forks while other threads trace and compile, and while the thread itself does."""

import os
import sys

import pytest
from conftest import python, thorough_but

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# A child that waits for ever is ended by an alarm.
SHARED = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forks beside threads
import sdefast as sf

def run(c):
    ou = sf.SDE(lambda t, x, p: -x[0] * c, lambda t, x, p: 1.0)
    return float(sf.simulate(ou, x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=1, threads=1).mean[-1, 0])

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

BESIDE = """
def trace(c):
    sf.SDE(lambda t, x, p: -x[0] * c if x[0] > c else x[0], lambda t, x, p: 1.0)

work_on = {"compile": run, "trace": trace}[sys.argv[1]]
mean = run(0.5)
stop, n = threading.Event(), [0]

def work():
    while not stop.is_set():
        n[0] += 1
        work_on(1.0 + n[0] / 1024)

thread = threading.Thread(target=work)
thread.start()
while n[0] < 2:
    time.sleep(0.01)
statuses = []
for i in range(2):
    time.sleep(0.037 * i)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if run(0.5) == mean and run(3.0 + i) < 1.0 else 1)
    statuses.append(ended(child))
stop.set()
thread.join()
print(statuses == [0] * 2, n[0] > 2)
"""


@pytest.mark.parametrize("work", thorough_but(["compile"], ["compile", "trace"]))
def test_beside_a_thread_that_works(work):
    assert python(SHARED + BESIDE, work, SDEFAST_CACHE_DIR="").split() == ["True", "True"]


BESIDE_NUMBA = """
import numba

def work():
    global compiled
    for c in range(3):
        compiled = numba.njit("float64(float64)")(eval(f"lambda x: x + {c}"))

thread = threading.Thread(target=work)
thread.start()
time.sleep(float(sys.argv[1]))
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if run(0.5) < 1.0 else 1)
print(ended(child))
thread.join()
"""


@pytest.mark.thorough
@pytest.mark.parametrize("delay", thorough_but(["0.1"], ["0.01", "0.1"]))
def test_beside_a_thread_that_compiles_with_numba(delay):
    assert python(SHARED + BESIDE_NUMBA, delay, SDEFAST_CACHE_DIR="") == "0\n"


WITHIN = """
from sdefast.jit import compile
child, instructions = None, compile.instructions

def forking(*kernel):
    global child
    child = child if child is not None else os.fork()
    if child == 0:
        signal.alarm(60)
    return instructions(*kernel)

compile.instructions = forking
mean = run(0.5)
if child == 0:
    os._exit(0 if mean == run(0.5) and run(0.75) < 1.0 else 1)
print(child > 0, ended(child), mean == run(0.5), run(0.75) < 1.0)
"""


def test_within_the_thread_that_compiles():
    assert python(SHARED + WITHIN, SDEFAST_CACHE_DIR="").split() == ["True", "0", "True", "True"]


RENEWED = """
from sdefast.trace import expression

held, done = threading.Event(), threading.Event()

def hold():
    with expression._adding:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if run(0.5) < 1.0 else 1)
print(ended(child))
done.set()
thread.join()
"""


def test_beside_a_thread_that_adds_an_expression():
    assert python(SHARED + RENEWED, SDEFAST_CACHE_DIR="") == "0\n"


IDLE = """
child = os.fork()
if child == 0:
    os._exit("numba" in sys.modules)
print(ended(child), "numba" in sys.modules, "llvmlite" in sys.modules)
"""


def test_nothing_is_imported_for_a_fork():
    assert python(SHARED + IDLE).split() == ["0", "False", "False"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_locks_are_free_after_a_fork():
    from sdefast.jit import forks
    from sdefast.trace import expression, tracing

    child = os.fork()
    if child == 0:
        os._exit(0 if free_for_another_thread([*forks._locks(), expression._adding]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    locks = list(forks._locks())
    assert locks[0] is tracing._tracing
    assert len(locks) == 2 + ("numba" in sys.modules) + ("llvmlite.binding" in sys.modules)
    assert free_for_another_thread([*locks, expression._adding])


def free_for_another_thread(locks):
    import threading

    taken = []

    def take():
        for lock in locks:
            with lock:
                taken.append(lock)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(30)
    return len(taken) == len(locks)
