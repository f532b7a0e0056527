"""What happens to few chains after a step, or in few steps: the bits of the same computed for all, on any device."""

from dataclasses import dataclass

import numpy as np
import pytest
from conftest import in_both_types

from sdefast.engine.grid import TimeGrid
from sdefast.engine.statistics import Layout
from sdefast.jit.emit import stepper_source
from sdefast.jit.step import Rare, Step
from sdefast.run.step import ChainSettings, TracedStepping
from sdefast.run.where import Where
from sdefast.trace import as_expr, make, symbol

x, count, z, u, v, t, h = (symbol(name) for name in ("x0", "x1", "z0", "u0", "u1", "t", "h"))


def step(often):
    """A walk; with probability ``often`` a step ends with a new place that depends on the old one and on the time."""
    new = as_expr(make("exp", make("log", v)) + (t + h))
    return Step((as_expr(x + z), count), (), (), 1, 2, rare=Rare(u < often, (as_expr(new * x), as_expr(count + 1.0))))


@dataclass(frozen=True)
class Walk(TracedStepping):
    often: float
    folds: bool = False

    @property
    def step(self):
        return step(self.often).folded() if self.folds else step(self.often)


@dataclass(frozen=True)
class Counted(TracedStepping):
    """A walk that begins anew in every third step."""

    folds: bool = False

    @property
    def step(self):
        third = as_expr(symbol("step") / 3)
        ends = make("floor", third) * 3 == symbol("step")
        whole = Step((as_expr(x + z), count), (), (), 1, rare=Rare(ends, (as_expr(t * z), as_expr(count + 1.0))))
        return whole.folded() if self.folds else whole


def run(walk, dtype="float64", device="cpu", n=4500, n_steps=20):
    settings = ChainSettings(
        seed=5, dtype=np.dtype(dtype), noise_dtype=np.dtype(dtype), first_chain=0, n_chains=n,
        grid=TimeGrid(0.0, 0, n_steps, h=0.25), saves=np.array([7, n_steps]), layout=Layout(2, 2, False, False),
        keeps_states=True, steps_by=walk,
    )  # fmt: skip
    where = Where.of(device, 2, None)
    return np.asarray(where.run(settings.tile(np.zeros((2, 1), dtype), device=where.gpu), None).states)


@pytest.mark.parametrize(("often", "dtype"), [*in_both_types([0.01]), (0.0, "float64"), (1.0, "float64")])
def test_what_is_rare_has_the_bits_of_what_is_computed_for_all(often, dtype):
    states = run(Walk(often), dtype)
    assert states.tobytes() == run(Walk(often, folds=True), dtype).tobytes()
    assert abs(states[-1, 1].mean() - 20 * often) <= 5 * (20 * often * (1 - often) / 4500) ** 0.5
    assert (states[-1, 1].max() > 0) == (often > 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_happens_in_few_steps_has_the_bits_of_what_is_computed_in_all(dtype):
    states = run(Counted(), dtype)
    assert states.tobytes() == run(Counted(folds=True), dtype).tobytes()
    assert (states[:, 1] == [[3], [7]]).all()  # steps 0, 3, ... of 7 and of 20


def test_a_gpu_has_the_bits_of_the_cpu():
    for walk in (Walk(0.1), Counted()):
        for dtype in ("float32", "float64"):
            on_card = run(walk, dtype, "cuda", n=70, n_steps=9)
            assert on_card.tobytes() == run(walk, dtype, n=70, n_steps=9).tobytes()


def test_what_is_rare_is_computed_where_it_happens():
    """The logarithm stands in the loop over hits alone."""
    for_all, for_hits = stepper_source(step(0.01), 4).split("while hits != 0:")
    assert "log_" not in for_all
    assert "log_" in for_hits
    assert "log_" in stepper_source(step(0.01).folded()).split("for l in paired(lanes):")[1]


def test_what_happens_in_few_steps_is_asked_once_a_step():
    source = stepper_source(Counted().step)
    for_all, then = source.split("    if ", 1)
    assert for_all.count("for l in range(lanes):") == then.count("for l in range(lanes):") == 1
    assert "hits" not in source
