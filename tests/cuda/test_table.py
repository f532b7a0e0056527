"""The table of constants of a run and the number of the step reach steppers and observers on a GPU, in every launch.

In numba's simulator, and from the kernels' PTX.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from cards import card
from conftest import thorough_but

import sdefast as sf
from sdefast.cuda import emit, run, target
from sdefast.cuda.draws import Normals, Uniforms
from sdefast.cuda.kernels import ObserverProgram, PathsProgram, paths
from sdefast.engine.statistics import Layout
from sdefast.engine.tiles import Draws, Gathered, Observer, Tile
from sdefast.jit.compile import Program
from sdefast.jit.emit import stepper_source
from sdefast.run.where import Where
from sdefast.trace import as_expr, symbol

TABLE = np.array([0.25, -1.0, 3.0, 0.5])

ONE = Layout(1, 2, False, False)


class Step:
    """x <- table[k mod 4] x + z, where k is the number of the step."""

    is_short = needs_k = True

    def __init__(self):
        self.constants = {}

    def load(self):
        return ["x = state[0, i]"]

    def record(self):
        return ["saved[save, 0, i] = x"]

    def store(self):
        return ["state[0, i] = x"]

    def setup(self):
        return []

    def lines(self, index):
        return [f"x = add_(mul_(table[(k + {index}) % 4], x), z0)"]


OBSERVED = f"""{emit.OBSERVER}
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < n:
        out[cuda.blockIdx.y, 0, i] = mul_(table[2], x[cuda.blockIdx.y, 0, i])
"""


def tile(dtype="float64", table=TABLE, n_chains=70, n_steps=11, first_step=5):
    words = 1 if dtype == "float32" else 2
    source = emit.Paths(Step(), Normals(1, words), Uniforms(0, 1)).source(*emit.AROUND)
    saves = first_step + np.arange(n_steps + 1)
    observer = Observer(ObserverProgram(OBSERVED, dtype, dtype), 1, np.zeros(1), saves * 0.5)
    return Tile(
        PathsProgram(source, dtype, dtype), np.zeros((1, 5)), Draws(1, float32=dtype == "float32"), 3, 0, n_chains,
        first_step, n_steps, np.full((1, 1), 2.0, dtype), saves, True, (Gathered(ONE), Gathered(ONE, 0, True)), 1.0,
        observer, table=None if table is None else table.astype(dtype),
    )  # fmt: skip


def assert_as_in_numpy(whole):
    outcome = Where.of("cuda", None, None).run(whole, None)
    first, n = whole.first_step, whole.n_steps
    z = sf.noise.normals(whole.seed, n, whole.n_chains, first_draw=first, dtype=whole.start.dtype).reshape(n, -1)
    x = [np.full(whole.n_chains, 2.0, whole.start.dtype)]
    for k in range(n):
        x.append(whole.table[(first + k) % 4] * x[-1] + z[k])
    assert outcome.states.to_numpy()[:, 0].tobytes() == np.array(x).tobytes()
    observed = whole.table[2] * np.array(x)
    np.testing.assert_allclose(ONE.total(outcome.nodes[1])[:, 1], observed.astype(float).mean(1), rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "launch"),
    thorough_but([("float32", 3 * 4096), ("float64", None)], list(product(["float32", "float64"], [None, 3 * 4096]))),
)
def test_steppers_and_observers_read_it(dtype, launch, monkeypatch):
    if launch is not None:  # three steps a launch
        monkeypatch.setattr(run, "LAUNCH", launch)
    assert_as_in_numpy(tile(dtype))


@pytest.mark.skipif(not target.SIMULATED, reason="with a GPU these kernels run there, in the test above")
def test_from_the_ptx(machines):
    whole = tile("float32")
    with card(lambda program, *how: machines[program][1].run(*how)):
        assert_as_in_numpy(whole)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("times", [None, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_know_their_number(device, times, dtype):
    """Also where float32 no longer tells one from the next: x <- x + z + (k mod 2), from step 2^24 - 3 on."""
    first, n = 2**24 - 3, 9
    x, z, k = symbol("x0"), symbol("z0"), symbol("step")
    step = emit.Step((as_expr(x + (k - 2 * sf.math.floor(0.5 * k)) + z),), (), (), 1)
    if device == "cpu":
        program = Program("stepper", stepper_source(step, 2), dtype, dtype)
    else:
        program = paths(step, dtype, dtype, times is None, False)
    whole = replace(
        tile(dtype, None, 5, n, first), kernel=program, observer=None, gathered=(Gathered(ONE),),
        coefficients=np.zeros((times or 1, 5)),
    )  # fmt: skip
    states = np.array(Where.of(device, 1, None).run(whole, None).states)[:, 0]
    want = [np.full(5, 2.0, dtype)]
    for j, z in enumerate(sf.noise.normals(3, n, 5, first_draw=first, dtype=dtype).reshape(n, 5)):
        want.append((want[-1] + np.dtype(dtype).type((first + j) % 2)) + z)
    assert states.tobytes() == np.array(want).tobytes()


@pytest.mark.parametrize("table", [TABLE.astype("float32"), TABLE[::2], TABLE.reshape(2, 2)])
def test_of_another_type_or_shape_is_refused(table):
    with pytest.raises(ValueError, match="a table must be a contiguous one-dimensional array of the state's type"):
        Where.of("cuda", None, None).run(replace(tile(), table=table), None)


def test_a_table_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(target.Device, "free_memory", lambda self: 1000)
    with pytest.raises(MemoryError, match=r"the data need 0\.0 GiB on the card, 0\.0 GiB are free there"):
        Where.of("cuda", None, None).run(replace(tile(), table=np.zeros(1000)), None)
