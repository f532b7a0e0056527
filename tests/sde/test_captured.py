"""Global numbers that a user's functions read: a function is taken as it is at the call, wherever it is given."""

import pickle

import numpy as np
import pytest
from conftest import thorough_but
from sde.common import BM, LINE

import sdefast as sf
from sdefast.run.where import Where
from sdefast.sde import settings
from sdefast.sde.functionals import first_passage, running_max, time_average

level = 0.0


def over(t, x):
    return x[0] - level


def beyond(t, x):
    return x[0] > level + 0.5


def functions_of(level):
    """The same functions, fresh ones that keep their number."""
    return lambda t, x, level=level: x[0] - level, lambda t, x, level=level: x[0] > level + 0.5


#: where `simulate` takes functions, by the two above; one at a time: one that is read again would hide others
PLACES = {
    "expectations": lambda over, beyond: {"expectations": {"f": over}},
    "expectations under a chain": lambda over, beyond: {
        "expectations": {"f": over}, "functionals": {"a": time_average()},
    },
    "expectations of pairs": lambda over, beyond: {"expectations": {"f": over}, "antithetic": True},
    "controls": lambda over, beyond: {
        "expectations": {"f": lambda t, x: x[0] ** 3}, "controls": {"c": (over, 0.25)},
    },
    "running_max": lambda over, beyond: {"functionals": {"a": running_max(over)}},
    "running_max, exact steps": lambda over, beyond: {
        "functionals": {"a": running_max(over)}, "method": "exact",
    },
    "time_average": lambda over, beyond: {"functionals": {"a": time_average(over)}},
    "first_passage": lambda over, beyond: {"functionals": {"a": first_passage(0.5, over)}},
    "stop_when": lambda over, beyond: {"stop_when": beyond},
}  # fmt: skip


class ReadyError(Exception):
    """A run that would begin now."""


@pytest.fixture
def program_of(monkeypatch):
    """All that a call would compile and run."""

    def begin(where, tile, *others):
        raise ReadyError(tile)

    def prepared(call, *args, **options):
        with pytest.raises(ReadyError) as ready:
            call(*args, **options)
        (tile,) = ready.value.args
        kernels = [kernel for kernel in (tile.kernel, tile.observer and tile.observer.kernel) if kernel]
        numbers = tile.coefficients.tobytes(), tile.start.tobytes()
        return [getattr(kernel, "source", kernel) for kernel in kernels], numbers

    monkeypatch.setattr(Where, "run", begin)
    return prepared


@pytest.mark.parametrize("place", PLACES)
def test_a_global_number_that_changes(place, program_of):
    global level
    options, seen = PLACES[place](over, beyond), []
    for level in (0.0, 0.25, -1.0, 0.25):
        seen.append(program_of(sf.simulate, BM, n_paths=100, **options, **LINE))
        fresh = PLACES[place](*functions_of(level))
        assert seen[-1] == program_of(sf.simulate, BM, n_paths=100, **fresh, **LINE)
    assert seen[1] == seen[3]
    assert seen[0] != seen[1] != seen[2] != seen[0]


def test_of_multilevel(program_of):
    global level
    settings, seen = {"x0": 0.0, "t1": 1.0, "accuracy": 0.5, "seed": 1}, []
    for level in (0.0, 0.25, 0.0):
        seen.append(program_of(sf.multilevel, BM, over, **settings))
        assert seen[-1] == program_of(sf.multilevel, BM, functions_of(level)[0], **settings)
    assert seen[0] == seen[2] != seen[1]


@pytest.mark.filterwarnings("ignore:controls.* has a mean:RuntimeWarning")
def test_known_values_of_controls():
    """Which are not compiled: with x itself as the control of x the mean is the known one."""
    global level
    asked = {"expectations": {"f": lambda t, x: x[0]}, "controls": {"c": (lambda t, x: x[0], lambda t: level)}}
    for level in (0.0, 0.25):
        run = sf.simulate(BM, n_paths=100, **asked, **LINE)
        assert run.expectations["f"].value[-1] == pytest.approx(level, abs=1e-12)


# Runs that go on ------------------------------------------------------------------------------------------------------

#: the places of functions that decide what a step does
IN_THE_STEP = ["running_max", "running_max, exact steps", "time_average", "first_passage", "stop_when"]


def read_back(run, folder):
    run.save(folder / "run.npz")
    return sf.load(folder / "run.npz")


#: how a run may come to the call that goes on with it
WAYS = {
    "as it is": lambda run, folder: run,
    "pickled": lambda run, folder: pickle.loads(pickle.dumps(run)),
    "saved": read_back,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("asked", [{}, {"expectations": {"f": over}}], ids=["nothing", "expectations"])
@pytest.mark.parametrize("place", thorough_but(["stop_when", "running_max"], IN_THE_STEP))
def test_a_run_goes_on_with_what_its_functions_were(place, asked, way, tmp_path):
    """Whatever has become of the number since; what is asked of it anew is taken as it is then."""
    global level
    options = PLACES[place](over, beyond)
    level = 0.0
    whole = sf.simulate(BM, n_paths=100, **options, **LINE)
    first = sf.simulate(BM, n_paths=100, **options, **(LINE | {"t1": 0.5, "n_steps": 10}))
    level = 0.25
    settings._chain.cache_clear()
    settings._own_chain.cache_clear()
    rest = sf.simulate(BM, resume=WAYS[way](first, tmp_path), n_steps=10, **asked)
    assert rest.x.tobytes() == whole.x.tobytes()
    for name, functional in whole.functionals.items():
        assert rest.functionals[name].values.tobytes() == functional.values.tobytes()
    if "stop_when" in options:
        times = whole.stop_time.values
        assert rest.stop_time.values.tobytes() == times.tobytes()
        assert 0 < np.isfinite(times).sum() < 100
    if asked:
        assert rest.expectations["f"].value[-1] == pytest.approx(whole.mean[-1, 0] - 0.25, abs=1e-12)
    anew = sf.simulate(BM, n_paths=100, **options, **LINE)
    assert anew._states.tobytes() != whole._states.tobytes()  # the number does matter
