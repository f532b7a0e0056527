"""Experiments on diffusion models: their tables against exact numbers, their files, and what they refuse."""

import csv
import functools

import numpy as np
import pytest

from sdefast.diffusion import Schedule, experiments
from sdefast.diffusion.experiments import smld_mixture
from sdefast.diffusion.experiments.base import Outcome, Table, mean_and_error, variance_and_error, z_score
from sdefast.diffusion.training import load

MOST_Z = 5.0


@pytest.fixture
def quick_classifier(monkeypatch):
    """A classifier of a few steps; torch on one thread."""
    torch = pytest.importorskip("torch")
    from sdefast.diffusion import quality

    monkeypatch.setattr(
        quality, "train_classifier", functools.partial(quality.train_classifier, steps=15), raising=False
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Tables and outcomes -------------------------------------------------------------------------------------------------


def test_table_reads_by_column_and_by_entry():
    table = Table(("a", "b"), [("x", 1), ("y", 2)])
    assert table["b"] == [1, 2]
    assert table.where(a="y") == [{"a": "y", "b": 2}]
    assert Table(("a", "b"), [("x", None), ("y", np.float64(0.123456))]).csv() == "a,b\nx,\ny,0.123456\n"
    with pytest.raises(ValueError, match="2 entries"):
        Table(("a", "b"), [(1, 2, 3)])


def test_errors_of_mean_and_variance():
    values = np.array([1.0, 1.0, 3.0, 3.0])
    assert mean_and_error(values) == (2.0, 0.5)
    assert variance_and_error(values) == (1.0, 0.0)
    assert z_score(3.0, 0.5, 2.0) == 2.0
    assert z_score(3.0, 0.0, 2.0) is None


def test_outcome_writes_what_it_prints(tmp_path):
    outcome = Outcome("name", Table(("a",), [(1,)]), ["a note"])
    outcome.write(tmp_path)
    assert (tmp_path / "name.csv").read_text() == "a\n1\n"
    assert (tmp_path / "name.txt").read_text().startswith("name\n\na\n1\n\na note\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["name.csv", "name.txt"]


# Running -------------------------------------------------------------------------------------------------------------


def test_run_prints_and_writes(tmp_path, capsys):
    outcome = experiments.run("t1-limit", out=tmp_path / "new", levels=30)
    assert sorted(file.name for file in outcome.files) == ["t1-limit.csv", "t1-limit.png", "t1-limit.txt"]
    assert (tmp_path / "new" / "t1-limit.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == str(outcome)
    rows = list(csv.reader((tmp_path / "new" / "t1-limit.csv").read_text().splitlines()))
    assert rows[0] == list(outcome.table.columns)
    assert len(rows) == 1 + len(outcome.table.rows)
    experiments.run("t1-limit", quiet=True, levels=30)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_every_experiment_has_options_with_defaults(name):
    pytest.importorskip("torch")
    known = experiments.options(name)
    assert known
    assert all(isinstance(value, (int, float, str, tuple, type(None))) for value in known.values())


def test_unknown_names_and_options_are_refused():
    with pytest.raises(ValueError, match="did you mean 't1-limit'"):
        experiments.run("t1-limits")
    with pytest.raises(TypeError, match="no option 'steps': it takes 'mean'"):
        experiments.run("t1-limit", steps=3)
    with pytest.raises(ValueError, match="variance must be positive"):
        experiments.run("t1-limit", variance=0)


# Without training ----------------------------------------------------------------------------------------------------


def test_t1_limit_in_exact_numbers():
    table = experiments.run("t1-limit", quiet=True).table
    found = {row["chain"]: row for row in (dict(zip(table.columns, r, strict=True)) for r in table.rows)}
    assert found["DDPM, beta~"]["variance"] == pytest.approx(0.246125, abs=6e-7)
    assert found["DDPM, beta"]["variance"] == pytest.approx(0.250752, abs=6e-7)
    assert found["ancestral in y"]["variance"] == pytest.approx(found["DDPM, beta~"]["variance"], rel=1e-9)
    assert found["Langevin, T = 1, its drift"]["calls"] == 1001


def test_one_langevin_step_per_level_ends_with_twice_the_variance():
    # the excess over the limit falls in proportion to the step
    def excess(levels):
        table = experiments.run("t1-limit", quiet=True, levels=levels).table
        (row,) = table.where(chain="Langevin, T = 1, its drift")
        return row["variance / exact"] - 2

    assert excess(2000) == pytest.approx(0, abs=0.011)
    assert excess(500) / excess(2000) == pytest.approx(4, rel=0.1)


def test_ddpm_is_the_ancestral_chain_to_rounding():
    from sdefast.diffusion import linear_beta_schedule
    from sdefast.diffusion.experiments.t1_limit import largest_difference

    assert largest_difference(linear_beta_schedule(1000)) < 1e-11


@pytest.fixture(scope="module")
def on_the_line():
    """The runs on the mixture of two modes, by name; 4000 samples each."""
    coarse = Schedule.from_sigmas(np.geomspace(0.1, 10.0, 12))
    fine = Schedule.from_sigmas(np.geomspace(0.01, 50.0, 200))
    ways = smld_mixture.plans(coarse, fine, 100, 1e-3)
    return {
        name: list(smld_mixture.judged(smld_mixture.LINE, made, smld_mixture.sampled(
            smld_mixture.LINE, made, schedule, 4000, seed=3).x))
        for name, (made, schedule) in ways.items() if name != "predictor-corrector"
    }  # fmt: skip


def row(found, quantity):
    (one,) = [one for one in found if one[0] == quantity]
    return one[1:]


@pytest.mark.parametrize(
    ("name", "weight"),
    [("annealed Langevin", 0.788), ("smallest noise first", 0.59), ("plain Langevin", 0.5), ("ancestral", 0.8)],
)
def test_weights_of_modes_are_what_is_known_of_each_sampler(on_the_line, name, weight):
    value, error, exact, z = row(on_the_line[name], "weight of mode 2")
    assert exact == 0.8
    assert error == pytest.approx((value * (1 - value) / 4000) ** 0.5)
    assert z == pytest.approx((value - 0.8) / error)
    # the known weights are themselves of 20,000 chains, and have two or three digits
    assert abs(value - weight) < MOST_Z * error + 0.005


def test_annealing_upwards_throws_points_far_away(on_the_line):
    value, error, *_ = row(on_the_line["smallest noise first"], "part beyond 8")
    assert abs(value - 0.47) < MOST_Z * error + 0.005
    assert row(on_the_line["annealed Langevin"], "part beyond 8")[0] == 0


@pytest.mark.parametrize("name", ["annealed Langevin", "plain Langevin", "ancestral"])
def test_variance_within_a_mode_is_that_of_the_rows(on_the_line, name):
    *_, z = row(on_the_line[name], "variance within a mode, by the rows")
    assert abs(z) < MOST_Z


def test_mixture_experiment_has_rows_for_every_law_and_sampler():
    outcome = experiments.run(
        "smld-mixture", quiet=True, samples=200, levels=4, steps_per_level=5, fine_levels=10, seed=1
    )
    table = outcome.table
    assert len({(law, sampler) for law, sampler, *_ in table.rows}) == 15
    calls = {r["sampler"]: r["calls"] for r in table.where(law="plane", quantity="weight of mode 4")}
    assert calls == {
        "annealed Langevin": 21, "smallest noise first": 20, "plain Langevin": 21, "predictor-corrector": 19,
        "ancestral": 10,
    }  # fmt: skip
    assert set(outcome.figures) == {"", "levels"}


# With trained networks -----------------------------------------------------------------------------------------------


def test_score_is_eps_over_sigma_on_a_trained_network(quick_classifier):
    outcome = experiments.run("score-noise", quiet=True, steps=150, batch=128, samples=2000, levels=6, calls=10)
    table = outcome.table
    differences = [float(word.rstrip(",")) for word in outcome.notes[1].split() if "e-" in word]
    assert len(differences) == 3
    assert max(differences) < 1e-4
    for r in (dict(zip(table.columns, one, strict=True)) for one in table.rows):
        # the exact score is the regression that the loss is of: loss = least loss + error^2 but for a mean of products
        error = r["rms error of eps"]
        left = r["loss"] - r["least loss"] - error**2
        assert abs(left) < MOST_Z * 2 * error * (r["least loss"] / 4000) ** 0.5, r
    assert max(table["part"][2:]) < 0.2


@pytest.mark.thorough
def test_swiss_roll_by_annealed_langevin(quick_classifier):
    table = experiments.run(
        "smld-swiss-roll", quiet=True, steps=300, samples=500, levels=10, steps_per_level=30, fine_levels=30
    ).table
    assert table["calls"] == [301, 19, 10, 30]
    for name in ("annealed Langevin", "ancestral, finely"):
        (found,) = table.where(sampler=name)
        assert found["energy distance"] < 0.02  # of points that lie evenly in a square around the roll .025
    assert abs(found["of real points"]) < 0.01


@pytest.mark.thorough
def test_swiss_roll_at_one_level(quick_classifier):
    table = experiments.run("swiss-roll-langevin", quiet=True, steps=200, samples=500, langevin_steps=200).table
    assert table["Langevin steps"] == [0, 2, 20, 100, 200]
    first, *_, last = table["energy distance"]
    assert last < first / 2


def test_samplers_of_a_kept_network(quick_classifier, tmp_path):
    options = {"samples": 40, "methods": ("dpm++2m-sde", "heun"), "calls": (3, 6)}
    trained = experiments.run("samplers", out=tmp_path, quiet=True, steps=5, batch=16, **options).table
    assert trained["calls"] == [3, 6, 2, 4]  # at most; from noise alone Heun's first step, too, is Euler's
    assert trained["steps"] == [3, 6, 2, 3]
    loaded = experiments.run("samplers", quiet=True, folder=str(tmp_path / "flow-seed-0"), **options).table
    assert loaded["Frechet"] == trained["Frechet"]
    assert float((tmp_path / "flow-seed-0" / "cpu-seconds.txt").read_text()) > 0
    with pytest.raises(ValueError, match="labels must be False: the network was trained without any"):
        experiments.run("samplers", quiet=True, folder=str(tmp_path / "flow-seed-0"), labels=True, **options)


def test_samplers_of_a_network_that_is_told_classes(quick_classifier, tmp_path):
    options = {"samples": 40, "methods": ("dpm++2m-sde",), "calls": (3,), "labels": True}
    done = experiments.run("samplers", out=tmp_path, quiet=True, steps=5, batch=16, **options)
    assert "as many samples of each of 10 classes" in done.notes[-1]
    trained = load(tmp_path / "flow-labels-seed-0")
    assert trained.classes == 10
    loaded = experiments.run("samplers", quiet=True, folder=str(tmp_path / "flow-labels-seed-0"), **options)
    assert loaded.table["Frechet"] == done.table["Frechet"]
    alike = experiments.run(
        "samplers", quiet=True, folder=str(tmp_path / "flow-labels-seed-0"), **options | {"labels": False}
    )
    assert alike.table["Frechet"] != done.table["Frechet"]


def test_smld_of_images(quick_classifier):
    table = experiments.run(
        "smld-mnist", quiet=True, steps=5, batch=16, samples=20, levels=6, steps_per_level=2, fine_levels=4
    ).table
    assert table["calls"] == [13, 7, 4]
    assert np.isfinite(table["Frechet"]).all()


@pytest.mark.thorough
def test_thesis_with_its_figures(quick_classifier, tmp_path):
    from sdefast.diffusion import training

    with pytest.warns(RuntimeWarning, match="alpha-bar_T is 0.132"):
        outcome = experiments.run(
            "thesis", out=tmp_path, quiet=True, steps=6, batch=16, seeds=2, samples=20, calls=5, every=2
        )
    table = outcome.table
    assert table["setting"] == ["thesis"] * 2 + ["scaled-betas"] * 2 + ["T-1000"] * 2
    assert table["alpha-bar_T"][0] == pytest.approx(0.13218, abs=1e-5)
    assert max(table["alpha-bar_T"][2:]) < 1e-4
    logs = [training.load(tmp_path / f"thesis-seed-{i}").log["loss"] for i in range(2)]
    curve = outcome.figures["figure-19"].lines[0].get_ydata()
    assert curve == pytest.approx(np.mean(logs, axis=0).reshape(3, 2).mean(1))
    picture = outcome.figures["figure-18"].images[0].get_array()
    assert picture.shape == (4 * 9 - 1, 21 * 9 - 1)  # the start and every tenth of 200 steps, of 8 x 8 pixels


def test_what_images_must_be_is_said_before_training(quick_classifier, tmp_path):
    file = tmp_path / "x.npy"
    np.save(file, np.zeros((10, 2), np.float32))
    with pytest.raises(ValueError, match="data must be images"):
        experiments.run("smld-mnist", file, quiet=True)
    with pytest.raises(ValueError, match="every must be between 1 and 3, got 4"):
        experiments.run("thesis", quiet=True, steps=3, every=4)
