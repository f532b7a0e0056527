"""Calls whose checkpoints are tested, and processes that run them until they are killed."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import numpy as np

import sdefast as sf
from sdefast.engine import tiles
from sdefast.engine.tiles import BLOCK
from sdefast.run import checkpoint
from sdefast.run.partly import Part

_ROWS = np.random.default_rng(2).standard_normal((700, 4))
PROBLEM = sf.LeastSquares(data=(_ROWS[:, :3], _ROWS[:, 3]))


def many_paths(**how):
    """Several tiles of several chunks, with states, histogram and all statistics; the last block is not full."""
    settings = {"t1": 1.0, "n_steps": 5000, "n_paths": 6 * BLOCK + 100, "seed": 5, "save_at": 700, "extremes": True}
    return sf.simulate(sf.Heston(), x0=(1.0, 0.04), histogram=(0.5, 1.5, 6), covariance=True, **{**settings, **how})


def few_paths(**how):
    """One tile of many chunks: a compiled step with a carried row, an observer, and saves between chunks' ends."""
    model = sf.SDE(lambda t, x, p: -p.k * x[0], lambda t, x, p: (0.3,), params={"k": 2.0})
    settings = {"t1": 4.0, "n_steps": 30_000, "n_paths": 900, "seed": 6, "save_at": 901, "dtype": "float32"}
    functionals = {"highest": sf.functionals.running_max()}
    expectations = {"square": lambda t, x, p, y: x[0] * x[0] + y.highest}
    return sf.simulate(model, x0=1.0, functionals=functionals, expectations=expectations, **{**settings, **how})


def descents(**how):
    """Shuffled epochs of data, final rows, and runs that are kept, which run once more."""
    settings = {"step_size": 1e-3, "n_steps": 7000, "n_runs": BLOCK + 50, "seed": 7, "save_at": 500, "runs": [1, 2, 80]}
    return sf.sgd(PROBLEM, sampling="shuffle", histogram=(-1.0, 1.0, 5), **{**settings, **how})


def adapted_chains(**how):
    """MALA whose step size is found in burn-in, with diagnostics and thinned draws."""
    target = sf.targets.Target(lambda x: -0.25 * x[0] ** 4 - 0.5 * (x[1] - x[0]) ** 2, dim=2)
    settings = {"n_steps": 4500, "burn_in": 30, "thin": 447, "n_chains": 2 * BLOCK + 50, "seed": 8, "x0": [2.0, -1.0]}
    chosen = {"method": "mala", "adapt": True, "diagnostics": 4, "covariance": True, "histogram": (-2.0, 2.0, 6)}
    return sf.langevin(target, **{**settings, **chosen, **how})


def annealed_chains(**how):
    """Levels whose step sizes are a level's own, chains that start around the mean, and a last step without noise."""
    target = sf.targets.GaussianMixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], 0.2)
    settings = {"step_size": 0.01, "steps_per_level": 900, "n_chains": 2 * BLOCK + 50, "seed": 9, "save_at": "levels"}
    sigmas = sf.geometric_sigmas(5.0, 0.1, 8)
    return sf.annealed_langevin(target, sigmas=sigmas, moments=4, extremes=True, **{**settings, **how})


CALLS = {call.__name__: call for call in (many_paths, few_paths, descents, adapted_chains, annealed_chains)}


def digest(result):
    """Of everything that a result has."""
    totals = [g.layout.total(nodes) for g, nodes in zip(result.settings.gathering.all, result._nodes, strict=True)]
    others = [result._states, result._counts, result._final, getattr(result, "_theta", None)]
    others.append(getattr(result.settings, "step_sizes", None))
    arrays = [*totals, *(other for other in others if other is not None)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def small_tiles(set_attribute=setattr):
    """Every block a tile, every 1024 steps (or the epochs that hold them) a chunk."""
    set_attribute(tiles, "CALL", 1000)


def write_always(set_attribute=setattr):
    """A checkpoint is written whenever there is something new."""
    set_attribute(checkpoint, "SECONDS", 0.0)
    set_attribute(checkpoint, "TIMES", 0.0)


def write_never():
    """A checkpoint is written at the end alone; there is a line when a tile is in the middle."""
    checkpoint.SECONDS = 1e9
    reached = Part.reached
    Part.reached = lambda *arguments: (reached(*arguments), print("begun\n", end="", flush=True))


CODE = """
import sys
from run.checkpointed import CALLS, digest, small_tiles, write_always, write_never
small_tiles()
if sys.argv[4] == "always":
    write_always()
else:
    write_never()
print("running", flush=True)
print(digest(CALLS[sys.argv[1]](checkpoint=sys.argv[2], threads=int(sys.argv[3]))))
"""


#: A job in the background of a shell would ignore Ctrl-C.
INTERRUPTIBLE = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def process(name, file, threads, writing="always"):
    """A process that makes a call and prints the digest of its result."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE + CODE, name, str(file), str(threads), writing],
        cwd=os.path.dirname(os.path.dirname(__file__)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n", process.communicate()
    return process


def kill_after(process, file, n_writes, delay):
    """Kill a process some time after it has written a file so many times, if it is still there."""
    last = written(file)
    while n_writes and process.poll() is None:
        if written(file) != last:
            last, n_writes = written(file), n_writes - 1
        time.sleep(0.001)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)


def written(file):
    """Something that changes when the file is replaced."""
    if not file.exists():
        return None
    status = file.stat()
    return status.st_ino, status.st_mtime_ns
