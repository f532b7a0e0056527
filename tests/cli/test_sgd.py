"""The command line of SGD: every preset prints and plots, with the problem's exact values; input is checked."""

import argparse
import re
import warnings

import matplotlib
import numpy as np
import pytest

import sdefast as sf
from sdefast.cli import experiment, main
from sdefast.cli import sgd as command
from sdefast.least_squares import Rademacher, Schedule, Student, Uniform
from sdefast.least_squares.experiments import presets

SGD_NAMES = [name for name in presets.names() if not name.startswith("figure-16")]
#: one preset of every experiment
GROUPS = [f"figure-{n}{end}" for n in (1, 4, 7, 10, 13) for end in ("", "-program")]
NUMBER = r"(?:-?\d\S*|inf|nan|-)"


def printed(capsys, *arguments):
    """What ``sgd`` prints for some options."""
    assert main(["sgd", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def parsed(*arguments):
    """The experiment that options ask for."""
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    return experiment.experiment(parser.parse_args(["sgd", *map(str, arguments)]))


def table(out, name="error"):
    """Iterations and values: simulated, standard error, exact, z, median, runs that are not finite."""
    rows = re.findall(rf"^ *(\d+) +{name} +(.*)$", out, re.M)
    assert all(re.fullmatch(rf"{NUMBER}(?: +{NUMBER})*", values) for _, values in rows)
    values = [[float(v) if v != "-" else np.nan for v in values.split()] for _, values in rows]
    return np.array([int(k) for k, _ in rows]), np.array(values)


@pytest.mark.parametrize("name", SGD_NAMES)
def test_every_preset_of_sgd_prints_exact_errors(name, capsys):
    out = printed(capsys, "--preset", name, "--runs", 300, "--seed", 2)
    e = presets.named(name)
    k, values = table(out)
    assert k.tolist() == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    np.testing.assert_allclose(values[:, 2], e.expected_error()[k], rtol=1e-6)
    assert out.startswith(f"{name}: thesis, figure {e.figure},")
    assert " ".join(e.description.split()) in " ".join(out.split())
    beyond = e.step_sizes.max() > e.problem.mean_square_threshold()
    assert beyond == (name in [f"figure-{n}-program" for n in (7, 8, 9, 13, 14, 15)])
    assert ("no z-scores" in out) == beyond
    if not beyond:
        assert np.abs(values[:, 3]).max() < 5
    assert f"mean-square threshold:   {e.problem.mean_square_threshold():.6g}" in out
    if isinstance(e.step_size, float):
        assert f"floor of the error:      {e.problem.error_floor(e.step_size):.6g}" in out


@pytest.mark.parametrize("name", ["figure-1", "figure-7-program", "figure-13-program"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_simulated_errors_medians_and_lost_runs(name, capsys):
    e = presets.named(name)
    k, values = table(printed(capsys, "--preset", name, "--runs", 500, "--seed", 3))
    fit = e.run(500, runs=500, seed=3, save_at=k)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(values[:, 0], fit.error, rtol=1e-6)
        np.testing.assert_allclose(values[:, 4], np.median(e.errors(fit.theta), axis=1), rtol=1e-6)
    assert values[:, 5].tolist() == fit.n_nonfinite.tolist()
    assert values[-1, 5] == (500 if name == "figure-7-program" else 0)


@pytest.mark.parametrize(("dtype", "seed"), [("float32", 3), ("float64", 2**63 + 7)])
def test_type_and_seed_are_those_of_the_run(dtype, seed, capsys):
    """As the report shows them, and as the numbers are; z is positive where the simulated error is the larger one."""
    e = presets.figure(1)
    out = printed(capsys, "--preset", "figure-1", "--runs", 400, "--dtype", dtype, "--seed", seed)
    assert f"batches of 1, {dtype}, seed {seed}\n" in out
    k, values = table(out)
    fit = e.run(400, seed=seed, dtype=dtype, save_at=k)
    np.testing.assert_allclose(values[:, 0], fit.error, rtol=1e-6)
    z = (fit.error - e.expected_error()[k]) / fit.error_standard_error
    np.testing.assert_allclose(values[:, 3], z, atol=0.00501)
    assert np.abs(z).max() > 0.5
    other = e.run(400, seed=seed, dtype={"float32": "float64", "float64": "float32"}[dtype], save_at=k)
    assert (np.abs(other.error / fit.error - 1) > 1e-5).all()


@pytest.mark.parametrize("name", ["figure-16", "figure-16-program"])
def test_the_ornstein_uhlenbeck_presets_print_moments(name, capsys):
    e = presets.named(name)
    rows = re.findall(
        r"^ *(\S+) +(mean|variance)\[(\d)\] +(.*)$", printed(capsys, "--preset", name, "--runs", 300), re.M
    )
    assert len(rows) == 50
    for t, what, c, values in rows:
        _, _, scheme, z, exact = map(float, values.split())
        t, c = float(t), int(c)
        mean, variance = e.scheme_moments([t])
        assert scheme == pytest.approx((mean if what == "mean" else variance)[0, c], rel=1e-6)
        ou = sf.OrnsteinUhlenbeck(e.kappa, e.theta_star[c], e.noise)
        assert exact == pytest.approx(ou.mean(t, 0.0) if what == "mean" else ou.variance(t), rel=1e-6)
        assert abs(z) < 5


def test_options_change_presets_and_say_so(capsys):
    out = printed(capsys, "--preset", "figure-4-program", "--noise-std", 3, "--steps", 40, "--runs", 100)
    assert "figure 4, section 3.3 (iii), as its program ran it, changed by --noise-std, --steps" in out
    e = parsed("--preset", "figure-4-program", "--noise-std", 3, "--steps", 40)
    assert e.problem == sf.LeastSquares(e.problem.theta_star, 3.0, inputs=Uniform(0.0, 5.0))
    assert (e.step_size, e.n_steps, e.measure, e.figures, e.description) == (0.02, 40, "half norm", (), "")
    assert parsed("--preset", "figure-4", "--runs", 3, "--seed", 4) == presets.figure(4)
    shorter = parsed("--preset", "figure-16", "--steps", 50)
    assert (shorter.n_steps, shorter.step_size) == (50, pytest.approx(0.01))


def test_experiments_of_ones_own(capsys):
    arguments = ("--theta-star", 1, -2, "--noise-std", 0.3, "--step-size", "min(0.05, 1/t)", "--theta0", 0.5, 0)
    arguments += ("--steps", 60, "--batch-size", 3, "--averaging", "polyak-ruppert", "--covariance", 1, 0.5)
    e = parsed(*arguments)
    problem = sf.LeastSquares(theta_star=[1.0, -2.0], noise_std=0.3, covariance=np.diag([1.0, 0.5]))
    assert (e.problem, e.step_size) == (problem, Schedule("min(0.05, 1/t)"))
    out = printed(capsys, *arguments, "--runs", 2000, "--seed", 1)
    settings = {"step_size": e.step_sizes, "n_steps": 60, "theta0": [0.5, 0.0], "batch_size": 3}
    for name, averaging in (("error", None), ("averaged", "polyak-ruppert")):
        k, values = table(out, name)
        assert k[-1] == 60
        np.testing.assert_allclose(values[:, 2], problem.expected_error(**settings, averaging=averaging)[k], rtol=1e-6)
        assert np.abs(values[:, 3]).max() < 5


def test_momentum_and_tail_averages(capsys):
    how = ("--theta-star", 1, -2, "--noise-std", 0.3, "--step-size", 0.02, "--steps", 40)
    more = ("--momentum", 0.8, "--averaging", "--average-from", 20)
    e = parsed(*how, *more)
    assert (e.momentum, e.average_from, e.averaging) == (0.8, 20, "polyak-ruppert")
    out = printed(capsys, *how, *more, "--runs", 2000, "--seed", 1)
    assert "momentum 0.8, averages from iterate 20 on, float64" in out
    assert "floor and thresholds: not known with momentum" in out
    exact = {"step_size": 0.02, "n_steps": 40, "momentum": 0.8}
    for name, more in (("error", {}), ("averaged", {"averaging": True, "average_from": 20})):
        k, values = table(out, name)
        np.testing.assert_allclose(values[:, 2], e.problem.expected_error(**exact, **more)[k], rtol=1e-6)
        assert np.abs(values[:, 3]).max() < 5


def test_penalties_and_rows_in_order(capsys, tmp_path):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(12, 2))
    y = X @ [1.0, -1.0] + 0.1 * rng.normal(size=12)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    np.save(tmp_path / "order.npy", np.arange(12)[::-1])
    how = ("--data", tmp_path / "data.npz", "--step-size", 0.05, "--steps", 20)
    penalised = parsed(*how, "--ridge", 0.1, "--label-noise", 0.3)
    problem = sf.LeastSquares(data=(X, y), ridge=0.1, label_noise=0.3)
    assert penalised.problem == problem
    assert parsed(*how, "--sampling", tmp_path / "order.npy").sampling == tuple(range(11, -1, -1))
    out = printed(capsys, *how, "--ridge", 0.1, "--sampling", tmp_path / "order.npy", "--runs", 30)
    assert "rows in a given order" in out
    assert "note: no exact error: rows in a given order are not random" in out
    ridge = sf.LeastSquares(data=(X, y), ridge=0.1)
    fit = sf.sgd(ridge, step_size=0.05, n_steps=20, n_runs=30, sampling=np.arange(12)[::-1], seed=0)
    k, values = table(out)
    np.testing.assert_allclose(values[:, 0], fit.error[k], rtol=1e-6)
    for options, message in (
        (("--ridge", 0.1), "--ridge must come with --data"),
        ((*how, "--sampling", "sorted"), "--sampling, if it is no file that ends in .npy or .csv, must be one of"),
        ((*how, "--sampling", tmp_path / "no.npy"), "no.npy"),
        (("--average-from", 3), "average_from says which iterates"),
        (("--momentum", 1.5), "momentum must be"),
    ):
        with pytest.raises(SystemExit):
            main(["sgd", *map(str, options)])
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "law"),
    [("normal", sf.inputs.Normal()), ("uniform:-1:2.5", Uniform(-1, 2.5)), ("rademacher", Rademacher()),
     ("student:6", Student(6))],
)  # fmt: skip
def test_laws_of_the_inputs(text, law):
    assert parsed("--inputs", text).problem == sf.LeastSquares(presets.figure(1).problem.theta_star, 0.1, inputs=law)


def test_without_a_fourth_moment_there_is_no_exact_error(capsys):
    out = printed(capsys, "--inputs", "student:3", "--steps", 5, "--runs", 50)
    assert "no exact error: df must be above 4" in out
    assert table(out)[1].shape == (3, 4)
    assert "no standard error" in printed(capsys, "--inputs", "student:6", "--steps", 5, "--runs", 50)


def test_files_of_data_and_covariances(tmp_path):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    problem = sf.LeastSquares(data=(X, y))
    np.savez(tmp_path / "d.npz", X=X, y=y)
    np.savetxt(tmp_path / "d.csv", np.column_stack([X, y]), delimiter=",", fmt="%.17g")
    np.savetxt(
        tmp_path / "named.csv", np.column_stack([X, y]), delimiter=",", fmt="%.17g", header="a,b,c,y", comments=""
    )
    for name in ("d.npz", "d.csv", "named.csv"):
        assert parsed("--data", tmp_path / name).problem == problem
    H = np.array([[1.0, 0.5], [0.5, 2.0]])
    np.save(tmp_path / "H.npy", H)
    np.savetxt(tmp_path / "H.csv", H, delimiter=",")
    for name in ("H.npy", "H.csv"):
        e = parsed("--theta-star", 1, 2, "--covariance", tmp_path / name)
        assert np.array_equal(e.problem.covariance, H)


def drawn(monkeypatch, tmp_path, *arguments):
    """The axes of the figure that a command draws."""
    kept = []
    monkeypatch.setattr("sdefast.plots.save", lambda ax, file: kept.append(ax))
    assert main(["sgd", *map(str, arguments), "--plot", str(tmp_path / "x.png")]) == 0
    return kept[0].get_figure().axes


@pytest.mark.parametrize("name", GROUPS)
def test_plots_show_runs_mean_median_and_exact_curve(name, monkeypatch, tmp_path):
    """The error's figure, on both axes."""
    e, runs, seed = presets.named(name), 60, 4
    axes = drawn(monkeypatch, tmp_path, "--preset", name, "--runs", runs, "--seed", seed)
    titles = [ax.get_title() for ax in axes]
    assert titles == [f"figure {e.figures[0]}: test error", "test error, logarithmic"]
    assert [ax.get_yscale() for ax in axes] == ["linear", "log"]
    explodes = name == "figure-7-program"
    for ax in axes:
        error, labels = [np.asarray(line.get_ydata()) for line in ax.lines], [line.get_label() for line in ax.lines]
        assert len(error) == e.n_shown * (1 + explodes) + 3
        assert labels.count("left float64") == e.n_shown * explodes
        k = np.asarray(ax.lines[0].get_xdata())
        assert (k[0], k[-1]) == (e.first_shown, 1000)
        exact = e.of_mean_square(e.expected_error()[k])
        assert labels[-1] == "median of 60 runs"
        curve = error[[label.endswith("exact") for label in labels].index(True)]
        np.testing.assert_array_equal(curve, np.where(exact < 1e200, exact, np.nan))
        if not explodes:
            fit = e.run(runs, seed=seed, runs=e.n_shown)
            np.testing.assert_array_equal(np.array(error[: e.n_shown]).T, e.errors(fit.theta)[e.first_shown :])


@pytest.mark.parametrize("name", ["figure-2", "figure-6-program", "figure-8-program", "figure-9-program"])
def test_a_figure_of_a_coordinate_is_of_it_alone(name, monkeypatch, tmp_path):
    e, c = presets.named(name), (1 if name in ("figure-6-program", "figure-9-program") else 0)
    (ax,) = drawn(monkeypatch, tmp_path, "--preset", name, "--runs", 60, "--seed", 4)
    assert ax.get_title() == f"figure {e.figure}: {('first', 'second')[c]} coordinate"
    curves = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.lines}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what explodes
        fit = e.run(60, seed=4, runs=e.n_shown)
    few = np.array([line.get_ydata() for line in ax.lines if line.get_color() == "0.6"]).T
    theta = fit.theta[e.first_shown :, :, c]
    mean = e.problem.expected_theta(step_size=e.step_size, n_steps=1000, save_at="all")[e.first_shown :, c]
    if name in ("figure-8-program", "figure-9-program"):
        assert ax.get_yscale() == "log"
        theta, mean = (np.where(np.abs(values) < 1e200, np.abs(values), np.nan) for values in (theta, mean))
        (end,) = (line for line in ax.lines if line.get_label() == "left float64")
        last = np.flatnonzero(np.isfinite(theta[:, 0]))[-1]
        assert (end.get_xdata()[0], end.get_ydata()[0]) == (last + e.first_shown, theta[last, 0])
        assert "mean of 60 runs" not in curves
    else:
        assert ax.get_yscale() == "linear"
        assert np.array_equal(curves["mean of 60 runs"], fit.mean[e.first_shown :, c])
    np.testing.assert_array_equal(few, theta)
    np.testing.assert_allclose(curves["mean, exact"], mean, rtol=1e-12)
    optimum = (0.1, -0.2)[c]
    assert np.all(np.asarray(ax.lines[-1].get_ydata()) == (optimum if ax.get_yscale() == "linear" else abs(optimum)))


def test_the_plot_of_the_ornstein_uhlenbeck_model(monkeypatch, tmp_path):
    left, right = drawn(monkeypatch, tmp_path, "--preset", "figure-16", "--runs", 100)
    e = presets.figure(16)
    assert len(left.lines) == 10  # a path and the exact mean of every coordinate
    assert len(left.collections) == 5
    for ax in (left, right):  # nothing lies under a legend
        box = ax.get_legend().get_window_extent()
        assert box.x0 >= ax.get_window_extent().x1
    np.testing.assert_allclose(left.lines[1].get_ydata()[[0, -1]], [0, e.model.mean(10.0, np.zeros(5))[0]])
    assert len(right.lines) == 6
    assert right.lines[-1].get_ydata()[-1] == pytest.approx(e.model.variance(10.0)[0])


@pytest.mark.parametrize("arguments", [
    pytest.param(("--preset", "figure-8-program", "--runs", 20), marks=pytest.mark.thorough),
    ("--preset", "figure-16", "--runs", 20, "--steps", 30),
    ("--theta-star", 1, "--theta0", 1, "--noise-std", 0, "--runs", 1, "--steps", 4),
])  # fmt: skip
def test_plots_are_written(arguments, tmp_path, capsys):
    file = tmp_path / "sgd.png"
    assert str(file) in printed(capsys, *arguments, "--plot", file)
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "pyplot" not in dir(matplotlib) or not matplotlib.pyplot.get_fignums()


def test_presets_are_listed(capsys):
    out = printed(capsys, "--list-presets")
    assert [line.split()[0] for line in out.splitlines()] == list(presets.names())
    assert re.search(r"^figure-13-program +noise 0.1, step size 1/t, inputs Uniform\(low=0.0, high=5.0\)", out, re.M)


def test_a_gpu_prints_the_same(capsys):
    arguments = ("--steps", 4, "--runs", 10, "--seed", 1)
    here, there = (table(printed(capsys, *arguments, "--device", device))[1] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=0.011)  # z has two decimals


REFUSED = {
    "--preset figure-17": "preset must be one of 'figure-1' to 'figure-16', a number from 1 to 16",
    "--preset figure-16 --noise-std 3 --inputs normal": "--noise-std, --inputs cannot change figure-16",
    "--preset figure-16 --steps 0": "--steps must be between 1",
    "--preset figure-16 --runs 0": "--runs must be between 1",
    "--preset figure-7 --steps 0": "--steps must be between 1",
    "--preset figure-1-program --covariance 1 1 1 1 1": "covariance needs Gaussian inputs",
    "--step-size -1": "--step-size must be positive, got -1",
    "--step-size nan": "--step-size must be finite",
    "--step-size 0.1/x": "formula of the update t = 1, 2, ...",
    "--step-size 1/k": "step_size must be positive and finite, but 1/k is inf at t = 1",
    "--inputs cauchy": "--inputs must be normal, uniform:LOW:HIGH, rademacher or student:DF, got 'cauchy'",
    "--inputs uniform:1": "--inputs must be normal",
    "--inputs uniform:a:b": "--inputs must be normal",
    "--inputs uniform:2:1": "low must be below high",
    "--inputs student:2": "df must be above 2",
    "--covariance 1 2": "covariance must have shape (5, 5)",
    "--covariance 1 a": "--covariance must be numbers, or one file that ends in .npy or .csv",
    "--covariance none.npy": "none.npy",
    "--data none.npz": "none.npz",
    "--data some.txt": "--data must be a file that ends in .npz or .csv",
    "--data some.csv --noise-std 1": "--data excludes --noise-std",
    "--data some.csv --preset figure-1": "--data excludes --preset",
    "--theta0 1 2": "theta0 must be of shape (5,)",
    "--noise-std -1": "noise_std must be within",
    "--steps 0": "--steps must be between 1",
    "--runs 0": "--runs must be between 1",
    "--batch-size 0": "batch_size must be between 1",
    "--averaging tail": "invalid choice: 'tail'",
    "--seed -1": "seed must be between 0",
    "--device tpu": "device must be",
    "--lr 0.1": "unrecognized arguments: --lr 0.1; did you mean --step-size?",
    "--epochs=3": "unrecognized arguments: --epochs=3; did you mean --steps?",
    "--plot no/folder/x.png": "folder",
    "--plot x.xyz": "must end in one of",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sgd", *arguments.split()])
    assert stop.value.code == 2
    assert REFUSED[arguments] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"", "cannot be read as a file of numpy"),
        ("x.npz", b"PK\x03\x04 broken", "cannot be read as a file of numpy"),
        ("x.npz", b"some text", "cannot be read as a file of numpy"),
        ("x.csv", b"1\n2\n", "must have two columns or more"),
        ("x.csv", b"a,b\n1,c\n", "cannot be read as numbers separated by commas: could not convert string"),
        ("x.csv", b"1,2\n1\n", "cannot be read as numbers separated by commas"),
        ("x.csv", b"", "x.csv holds no numbers"),
        ("x.csv", b"a,b\n", "x.csv holds no numbers"),
    ],
)
def test_files_that_are_none_are_refused(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["sgd", "--data", str(tmp_path / name)])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_archives_without_the_arrays_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", X=np.ones((2, 2)), z=np.ones(2))
    with pytest.raises(SystemExit):
        main(["sgd", "--data", str(tmp_path / "d.npz")])
    assert "has no array y; it has X, z" in capsys.readouterr().err


def test_the_command_line_and_python_speak_alike(capsys, tmp_path):
    """Numbers, formulas, schedules of data and files by the words of both."""
    data, kept = tmp_path / "d.csv", tmp_path / "fit.npz"
    data.write_text("".join(f"{x},{y},{x - 2 * y}\n" for x, y in ((1, 2), (0.5, -1), (2, 0), (-1, 1.5))))
    arguments = ("--data", data, "--sampling", "shuffle", "--step-size", "0.1/t", "--steps", "1e1", "--averaging")
    out = printed(capsys, *arguments, "--runs", "1e3", "--seed", 3, "--save", kept)
    assert "1,000 runs x 10 iterations" in out
    assert "rows are of the same runs" in out
    problem = sf.LeastSquares(data=experiment.read_data(data))
    how = {"step_size": "0.1/t", "n_steps": 10, "sampling": "shuffle", "averaging": True, "seed": 3}
    fit = sf.sgd(problem, n_runs=1000, **how, save_at=[0, 1, 2, 5, 10])
    assert np.array_equal(sf.load(kept).error, fit.error)
    np.testing.assert_allclose(table(out)[1][:, 0], fit.error[1:], rtol=1e-6)
    np.testing.assert_allclose(table(out)[1][:, 2], problem.expected_error(
        step_size="0.1/t", n_steps=10, sampling="shuffle")[[1, 2, 5, 10]], rtol=1e-6)  # fmt: skip
    averaged = table(out, "averaged")[1][:, 0]
    np.testing.assert_allclose(averaged, fit.averaged_error[1:], rtol=1e-6)
    assert sf.sgd(problem, step_size=0.1, n_steps=1).n_runs == 10_000
    assert "not known of shuffled epochs" in out


@pytest.mark.parametrize("given", ["7", 7, "figure-7"])
def test_presets_by_their_number(given, capsys):
    assert presets.named(given) == presets.figure("7") == presets.figure(7)
    assert presets.named("7-program") == presets.figure(7, as_="program")
    assert printed(capsys, "--preset", given, "--runs", 20, "--steps", 2).startswith("figure-7: thesis, figure 7")


@pytest.mark.parametrize("text", ["1.5", "many", "1e400", "nan"])
def test_numbers_of_runs_are_whole(text, capsys):
    with pytest.raises(SystemExit):
        main(["sgd", "--runs", text])
    assert "must be a whole number such as 100000 or 1e5" in capsys.readouterr().err


def test_files_that_cannot_be_written_are_refused_first(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["sgd", "--save", str(tmp_path / "no" / "x.npz")])
    assert "--save must be a file in a folder that exists" in capsys.readouterr().err
