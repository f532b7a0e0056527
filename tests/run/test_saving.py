"""Results that were saved: every number is as it was, and they are resumed and merged as if they never had been."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
from conftest import python
from run.saved import BRANCHES, DESCENTS, SIMULATIONS

import sdefast as sf
from sdefast.engine.tiles import BLOCK
from sdefast.lazy import cached_property
from sdefast.run import files

ALL = [("simulate", name) for name in SIMULATIONS] + [("sgd", name) for name in DESCENTS]


def made(call, name, **changes):
    """A run, by the name that `run.saved` has for it."""
    model, given = (SIMULATIONS if call == "simulate" else DESCENTS)[name]
    many = "n_paths" if call == "simulate" else "n_runs"
    changes[many] = changes.pop("n", 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of controls with a wrong mean, of Student's laws
        return getattr(sf, call)(model, seed=9, **given | changes)


def everything(run):
    """All that a result shows, by name: values, or why there is none."""
    kind = type(run)
    names = [n for n in dir(kind) if isinstance(getattr(kind, n), (property, cached_property)) and n[0] != "_"]
    shown = {"describe": run.describe(), "repr": repr(run)}
    for name in names:
        try:
            shown[name] = plain(getattr(run, name))
        except (AttributeError, ValueError) as error:
            shown[name] = str(error)
    if run.settings.histogram is not None:
        shown["quantile"] = plain(run.quantile([0.1, 0.5]))
    return shown


def plain(value):
    """What can be compared: bits of arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, (sf.Model, sf.LeastSquares)):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return (value.shape, value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else value


def assert_same(run, expected, but=()):
    have, want = everything(run), everything(expected)
    assert have.keys() == want.keys()
    for name in want.keys() - {"settings", *but}:
        assert have[name] == want[name], name
    assert run.settings.identity() == expected.settings.identity()


def saved(run, folder):
    run.save(folder / "run.npz")
    return sf.load(folder / "run.npz")


@pytest.mark.parametrize(("call", "name"), ALL)
def test_every_number_comes_back(call, name, tmp_path):
    run = made(call, name)
    back = saved(run, tmp_path)
    assert type(back) is type(run)
    assert back.cost == run.cost
    assert_same(back, run)
    assert_same(saved(back, tmp_path), run)  # what was loaded is saved as well


def test_tables_and_figures(tmp_path):
    for call, name in (("simulate", "brownian"), ("simulate", "everything"), ("sgd", "isotropic")):
        run = made(call, name)
        back = saved(run, tmp_path)
        assert back.to_xarray().identical(run.to_xarray())
        for one, other in zip(back.plot().lines, run.plot().lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def test_runs_without_states(tmp_path):
    run = made("simulate", "heston", paths=False)
    back = saved(run, tmp_path)
    assert_same(back, run)
    with pytest.raises(AttributeError, match="no states were kept: this run was made with paths=False"):
        _ = back.x
    fit = made("sgd", "isotropic", final_states=False)
    back = saved(fit, tmp_path)
    with pytest.raises(ValueError, match=r"resume needs .*, and this fit was made with final_states=False"):
        sf.sgd(back.problem, resume=back, n_steps=1)


def test_starts_of_their_own_and_given_normals(tmp_path):
    rng = np.random.default_rng(2)
    run = sf.simulate(sf.BrownianMotion(), x0=rng.standard_normal(9), t1=1.0, n_steps=2, n_paths=9,
                      normals=rng.standard_normal((2, 9, 1)), seed=1)  # fmt: skip
    assert_same(saved(run, tmp_path), run)
    fit = made("sgd", "isotropic", theta0=rng.standard_normal((50, 3)))
    assert_same(saved(fit, tmp_path), fit)


#: What a fresh interpreter does with first halves and shards that it finds, knowing none of the functions.
GO_ON = """
import sys
import sdefast as sf
folder, *names = sys.argv[1:]
for call, name in (name.split("/") for name in names):
    place = f"{folder}/{call} {name}"
    first = sf.load(place + " first")
    s = first.settings
    if call == "sgd":
        rates = None if len(s.rates) == 1 else lambda k: 0.1 / (k + 1)
        further = sf.sgd(first.problem, resume=first, n_steps=3, step_size=rates)
    else:
        end = dict(n_steps=2) if s.grid.is_uniform else dict(times=[0.3, 0.7, 1.0])
        further = sf.simulate(first.model, resume=first, expectations=dict(s.extras.expectations), **end)
    further.save(place + " further")
    sf.merge(*(sf.load(f"{place} shard {i}") for i in range(2))).save(place + " merged")
"""


@pytest.fixture(scope="module")
def went_on(tmp_path_factory):
    """A folder in which a fresh interpreter has gone on with all runs."""
    folder = tmp_path_factory.mktemp("runs")
    for call, name in ALL:
        place = f"{folder}/{call} {name}"
        first = {"t1": 0.5, "n_steps": 2} if call == "simulate" else {"n_steps": 3}
        if name == "double-well":
            first = {"t1": 0.625, "n_steps": 2, "save_at": "final"}
        made(call, name, **({"times": [0.0, 0.1, 0.3]} if name == "general" else first)).save(place + " first")
        one = made(call, name, n=2 * BLOCK)
        other = made(call, name, n=6, first_chain=one.settings.first_chain + one.settings.n_chains)
        one.save(place + " shard 0")
        other.save(place + " shard 1")
    python(GO_ON, str(folder), *(f"{call}/{name}" for call, name in ALL))
    return folder


@pytest.mark.parametrize(("call", "name"), ALL)
def test_resumed_in_another_process_they_are_the_run_that_was_not_split(call, name, went_on):
    further, whole = sf.load(f"{went_on}/{call} {name} further"), made(call, name)
    if call == "sgd":
        assert further.iterations[-1] == whole.iterations[-1] == 6
        assert further._final.tobytes() == whole._final.tobytes()
        assert further.error[-1] == whole.error[-1]
        return
    assert further.t[-1] == whole.t[-1]
    assert further.x[-1].tobytes() == whole.x[-1].tobytes()
    assert further._states[-1].tobytes() == whole._states[-1].tobytes()
    np.testing.assert_allclose(further.mean[-1], whole.mean[-1], rtol=1e-12)
    for what, expectation in further.expectations.items():
        if not whole.settings.extras.controls:
            np.testing.assert_allclose(expectation.value[-1], whole.expectations[what].value[-1], rtol=1e-12)


@pytest.mark.parametrize(("call", "name"), ALL)
def test_merged_in_another_process_they_are_the_run_that_was_not_split(call, name, went_on):
    merged, whole = sf.load(f"{went_on}/{call} {name} merged"), made(call, name, n=2 * BLOCK + 6)
    # (of SGD every shard has kept its own first runs)
    kept = ("theta", "x") if call == "sgd" and merged._theta is not None else ()
    assert_same(merged, whole, but=("repr", "path_steps_per_second", *kept))
    if kept:
        assert merged.theta[:, : whole.theta.shape[1]].tobytes() == whole.theta.tobytes()
        assert merged.theta.shape[1] == 2 * whole.theta.shape[1]


def test_ones_own_equation_takes_a_loaded_run_on(tmp_path):
    """Equal equations are equal whoever says them: by the user's functions or by a file."""
    first = saved(made("simulate", "everything", t1=0.5, n_steps=2), tmp_path)
    assert first.model == BRANCHES
    one, other = (sf.simulate(model, resume=first, n_steps=2) for model in (BRANCHES, first.model))
    assert one.x.tobytes() == other.x.tobytes()
    changed = dataclasses.replace(BRANCHES, params={"rate": 0.8})
    with pytest.raises(ValueError, match="resume goes on with the same model"):
        sf.simulate(changed, resume=first, n_steps=2)


def test_loaded_equations_start_new_runs(tmp_path):
    loaded = saved(made("simulate", "everything"), tmp_path).model
    how = {"x0": (1.0, 0.5), "t1": 1.0, "n_steps": 4, "n_paths": 10, "method": "heun", "seed": 4}
    one, other = (sf.simulate(model, **how) for model in (loaded, BRANCHES))
    assert one.x.tobytes() == other.x.tobytes()


def test_loaded_and_unloaded_shards_merge(tmp_path):
    one = made("simulate", "everything", n=BLOCK)
    other = made("simulate", "everything", n=6, first_chain=BLOCK)
    merged = sf.merge(saved(one, tmp_path), other)
    assert_same(merged, made("simulate", "everything", n=BLOCK + 6), but=("repr", "path_steps_per_second"))


def test_another_stream_is_neither_resumed_nor_merged(tmp_path, monkeypatch):
    run = made("simulate", "ou")
    back = saved(run, tmp_path)
    assert back.settings.stream_version == sf.noise.STREAM_VERSION == 1
    old = dataclasses.replace(back, settings=dataclasses.replace(back.settings, stream_version=0))
    assert saved(old, tmp_path).settings.stream_version == 0
    with pytest.raises(ValueError, match=r"of stream version 0: this version of sdefast draws that of 1"):
        sf.simulate(old.model, resume=old, n_steps=1)
    with pytest.raises(ValueError, match="other settings"):
        sf.merge(run, old)


def test_states_of_a_gpu_are_saved_as_the_hosts(tmp_path):
    run = made("simulate", "everything", device="cuda")
    back = saved(run, tmp_path)
    assert isinstance(back.x, np.ndarray)
    assert back.x.tobytes() == run.x.to_numpy().tobytes()
    assert_same(back, run, but=("x", "functionals", "stop_time"))
    assert back.stop_time.values.tobytes() == np.asarray(run.stop_time.values).tobytes()


def test_arrays_of_another_size_are_refused(tmp_path):
    run = made("simulate", "everything")
    for name in ("_states", "_counts"):
        files.write(tmp_path / "bad", "result", dataclasses.replace(run, **{name: getattr(run, name)[:-1]}))
        with pytest.raises(ValueError, match=r"an array is \w+ of \(4, .*not \w+ of \(5, .*: it is damaged"):
            sf.load(tmp_path / "bad")


def test_save_says_what_it_cannot(tmp_path):
    run = made("simulate", "ou")
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that is there"):
        run.save(tmp_path / "no" / "file")
    with pytest.raises(TypeError, match="path must be the name of a file, got None"):
        run.save(None)


def test_show_config_has_the_stream(capsys):
    sf.show_config()
    assert re.search(r"^noise stream +1$", capsys.readouterr().out, re.M)
