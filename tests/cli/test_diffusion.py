"""The command line of diffusion models: trainings begin, go on, are refused; samples, reports, plots, experiments."""

import shutil

import numpy as np
import pytest
from diffusion.training import equal, one_thread, read  # noqa: F401

from sdefast.cli import main
from sdefast.cli.diffusion import _picture
from sdefast.diffusion import data
from sdefast.diffusion.training import load, train

SMALL = ("--data", "two-moons", "--batch", "8", "--quiet")


def run(*arguments):
    assert main(["diffusion", *map(str, arguments)]) == 0


def refused(capsys, *arguments):
    """What is said of arguments that are refused."""
    with pytest.raises(SystemExit) as error:
        main(["diffusion", *map(str, arguments)])
    assert error.value.code == 2
    return capsys.readouterr().err


def test_train_says_what_python_does(tmp_path, capsys):
    options = ("--steps", 6, "--seed", 3, "--labels", "--objective", "v", "--learning-rate", 0.01, "--warmup", 2,
               "--decay", 9, "--weight-decay", 0, "--clip-norm", 2, "--ema", 0.2, "--label-drop", 0.3,
               "--save-every", 4)  # fmt: skip
    run("train", *SMALL, *options, "--out", tmp_path / "line")
    train("two-moons", True, objective="v", steps=6, batch_size=8, seed=3, learning_rate=0.01, warmup=2, decay=9,
          weight_decay=0.0, clip_norm=2.0, ema=0.2, label_drop=0.3, save_every=4, out=tmp_path / "python")  # fmt: skip
    assert equal(read(tmp_path / "line"), read(tmp_path / "python"))
    out = capsys.readouterr()
    assert f"{tmp_path / 'line'}: 6 steps of 8, loss" in out.out
    assert not out.err  # no bar


def test_bar_shows_the_loss(tmp_path, capsys):
    run("train", *SMALL[:-1], "--steps", 2, "--out", tmp_path)
    err = capsys.readouterr().err
    assert "2.00/2.00" in err
    assert "loss=" in err


def test_several_seeds_go_on_together(tmp_path, capsys):
    out = tmp_path / "seeds"
    run("train", *SMALL, "--steps", 3, "--seeds", 1, 5, "--out", out)
    shutil.rmtree(out / "seed-5")  # as if it had been stopped before
    run("train", "--resume", out, "--steps", 6, "--quiet")
    for seed in (1, 5):
        train("two-moons", steps=6, batch_size=8, seed=seed, out=tmp_path / "whole")
        assert equal(read(out / f"seed-{seed}"), read(tmp_path / "whole"))
        for file in (tmp_path / "whole").iterdir():
            file.unlink()
    run("plot", out, out / "seed-1", "--out", tmp_path / "losses.png", "--every", 2)
    assert (tmp_path / "losses.png").stat().st_size > 10_000
    assert "--resume goes on as it was begun" in refused(capsys, "train", "--resume", out, "--seeds", 1, 7)
    (out / "seed-1" / "last.pt").unlink()
    assert "already holds a training" in refused(capsys, "train", *SMALL, "--seeds", 1, 5, "--out", out)
    assert not (out / "seed-1" / "last.pt").exists()  # refused before the first begins
    (out / "seeds.json").write_text('{"seeds": 3}')
    assert "seeds.json is damaged: name the folder of one seed" in refused(capsys, "train", "--resume", out)
    assert "amp must be" in refused(capsys, "train", *SMALL, "--amp", "--seeds", 1, 2, "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_trainings_that_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("train", *SMALL, "--steps", 1)
    assert load("run").step == 1
    assert "already holds a training" in refused(capsys, "train", *SMALL, "--steps", 1)
    said = refused(capsys, "train", "--resume", "run", "--seed", 1, *SMALL)
    assert "--resume goes on as it was begun: leave out --data, --batch, --seed" in said
    assert "--seed and --seeds" in refused(capsys, "train", "--seed", 1, "--seeds", 2, "--out", "other")
    assert "there is no checkpoint" in refused(capsys, "train", "--resume", "nowhere")
    assert "amp must be False on a CPU" in refused(capsys, "train", *SMALL, "--amp", "--out", "other")
    assert not (tmp_path / "other").exists()


def test_damaged_data_are_named(tmp_path, capsys):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    assert "train-images-idx3-ubyte" in refused(capsys, "train", "--data", tmp_path, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def moons(tmp_path_factory):
    """A folder with a training that knows classes."""
    out = tmp_path_factory.mktemp("moons")
    train("two-moons", True, steps=2, batch_size=8, out=out)
    return out


def test_samples_go_to_a_file(moons, tmp_path, capsys):
    file = tmp_path / "samples.npy"
    run("sample", moons, "--n", 5, "--method", "heun", "--steps", 4, "--seed", 2, "--label", 1, "--guidance", 3,
        "--out", file, "--quiet")  # fmt: skip
    expected = load(moons).sample(5, "heun", 4, seed=2, labels=1, guidance=3.0)
    assert np.array_equal(np.load(file), expected)
    assert "5 samples of shape (2,), by heun in 4 steps" in capsys.readouterr().out
    run("sample", moons, "--n", 5, "--steps", 2, "--label", "1,0", "--out", file, "--quiet")
    assert np.array_equal(np.load(file), load(moons).sample(5, n_steps=2, labels=np.array([1, 0, 1, 0, 1])))
    run("sample", moons, "--n", 5, "--steps", 2, "--out", tmp_path / "samples.png", "--quiet")
    assert (tmp_path / "samples.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_are_drawn_by_their_first_coordinates(dim):
    points = np.arange(4.0 * dim).reshape(4, dim)
    ax = _picture(points)
    if dim == 1:
        counts, edges, _ = ax.patches[0].get_data()
        assert (counts * np.diff(edges)).sum() == pytest.approx(1)
    else:
        assert np.array_equal(ax.collections[0].get_offsets(), points[:, :2])


def test_samples_that_are_refused(moons, tmp_path, capsys):
    assert "must end in" in refused(capsys, "sample", moons, "--out", tmp_path / "x.txt")
    assert "folder that is there" in refused(capsys, "sample", moons, "--out", tmp_path / "no" / "x.npy")
    assert "there is no checkpoint" in refused(capsys, "sample", tmp_path / "no")
    assert "labels must be between 0 and 1, got 7" in refused(capsys, "sample", moons, "--label", 7)


def test_evaluate_prints_a_report(tmp_path, capsys):
    np.save(tmp_path / "x.npy", data.load("two-moons", n=300)[0])
    run("evaluate", tmp_path / "x.npy", "--data", "two-moons", "--quiet")
    assert "energy distance" in capsys.readouterr().out


def test_experiments_are_listed_and_run(tmp_path, capsys):
    run("experiment")
    assert "t1-limit" in capsys.readouterr().out
    run("experiment", "t1-limit", "--levels", 50, "--out", tmp_path, "--quiet")
    assert "t1-limit" in capsys.readouterr().out
    assert (tmp_path / "t1-limit.csv").exists()
    assert "did you mean 't1-limit'" in refused(capsys, "experiment", "t1-limi")
    assert "unrecognized arguments: --level" in refused(capsys, "experiment", "t1-limit", "--levelling", 3)
