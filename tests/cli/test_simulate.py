"""The command line of simulations: what it prints is what `simulate` computes with the options that were given."""

import re

import numpy as np
import pytest

import sdefast as sf
from sdefast.cli import main, tables

OU = sf.OrnsteinUhlenbeck(kappa=1.5, theta=-0.5, sigma=0.6)
ARGUMENTS = ("ou", "--kappa", 1.5, "--theta", -0.5, "--sigma", 0.6, "--x0", 2, "--t1", 0.8)
SIZES = {"n_steps": 40, "n_paths": 3000}


def printed(capsys, *arguments):
    """What ``simulate`` prints for some options."""
    options = ("--steps", SIZES["n_steps"], "--paths", SIZES["n_paths"])
    assert main(["simulate", *map(str, (*ARGUMENTS, *options, *arguments))]) == 0
    return capsys.readouterr().out


def table(out):
    """Times, and by name and time: simulated, standard error, exact, z."""
    rows = re.findall(r"^ *(\S+) +(mean|variance) +(\S+) +(\S+) +(\S+) +(\S+)$", out, re.M)
    by_name = {name: [row[2:] for row in rows if row[1] == name] for name in ("mean", "variance")}
    times = [float(row[0]) for row in rows if row[1] == "mean"]
    return np.array(times), {name: np.array(values, float).T for name, values in by_name.items()}


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((), {}, "euler-maruyama, float64, seed 0"),
        (("--dtype", "float32"), {"dtype": "float32"}, "euler-maruyama, float32, seed 0"),
        (("--method", "exact"), {"method": "exact"}, "exact, float64, seed 0"),
        (("--method", "heun", "--dtype", "float32"), {"method": "heun", "dtype": "float32"}, "heun, float32, seed 0"),
        (("--seed", 2**63 + 5), {"seed": 2**63 + 5}, f"euler-maruyama, float64, seed {2**63 + 5}"),
    ],
    ids=lambda value: " ".join(map(str, value)) or "-" if isinstance(value, tuple) else "",
)
def test_options_decide_what_is_run_and_told(arguments, options, told, capsys):
    """The numbers are those of the same call with these options, and of no other one of them."""
    out = printed(capsys, *arguments)
    assert f"3,000 paths x 40 steps of {told}\n" in out
    settings = {"dtype": "float64", "seed": 0, "method": "euler-maruyama", "save_at": 8, "moments": 4, **options}
    run = sf.simulate(OU, x0=2.0, t1=0.8, paths=False, **SIZES, **settings)
    times, values = table(out)
    np.testing.assert_allclose(times, run.t[1:])
    exact = {"mean": OU.mean(run.t, 2.0), "variance": OU.variance(run.t, 2.0)}
    for name, error in (("mean", run.standard_error), ("variance", run.variance_standard_error)):
        simulated, printed_error, printed_exact, z = values[name]
        have = getattr(run, name)[1:, 0]
        np.testing.assert_allclose(simulated, have, rtol=1e-6)  # float32 and float64 differ by less: see below
        np.testing.assert_allclose(printed_error, error[1:, 0], rtol=5e-3)
        np.testing.assert_allclose(printed_exact, exact[name][1:], rtol=1e-6)
        np.testing.assert_allclose(z, (have - exact[name][1:]) / error[1:, 0], atol=0.00501)
    assert np.abs(np.concatenate([values["mean"][3], values["variance"][3]])).max() > 0.5


def test_types_print_other_numbers(capsys):
    """By the noise, whose streams differ, if not by rounding."""
    single, double = (table(printed(capsys, "--dtype", dtype))[1]["mean"][0] for dtype in ("float32", "float64"))
    assert (np.abs(single - double) > 1e-5).all()


@pytest.mark.parametrize(("value", "z"), [(1.5, "5.00"), (0.5, "-5.00"), (1.0, "0.00")])
def test_z_is_positive_above_the_exact_value(value, z):
    assert tables.row("0.5", "mean", value, 0.1, 1.0).split() == ["0.5", "mean", f"{value:g}", "0.1", "1", z]
    assert tables.row("0.5", "mean", value, 0.1, 1.0, has_z=False).split()[-1] == "-"
    assert tables.row("0.5", "mean", value, 0.0, 1.0).split()[-1] == "0.00"
    assert tables.row("0.5", "mean", value, float("nan"), 1.0).split()[-1] == "-"  # of a single path
    assert len(tables.row("0.5", "mean", value, 0.1, None).split()) == 4


def test_a_model_of_two_components(capsys):
    assert main(["simulate", "heston", "--paths", "3000", "--steps", "25", "--seed", "3", "--dtype", "float64"]) == 0
    rows = re.findall(r"^ *(\S+) +(mean|variance)\[(\d)\] +(\S+) .*? (\S+)$", capsys.readouterr().out, re.M)
    run = sf.simulate(
        sf.Heston(), x0=sf.Heston.example_start, t1=1.0, n_steps=25, n_paths=3000, seed=3, dtype="float64", save_at=5,
        moments=4,
    )  # fmt: skip
    exact = {"mean": run.model.mean(run.t, [100.0, 0.04]), "variance": run.model.variance(run.t, [100.0, 0.04])}
    errors = {"mean": run.standard_error, "variance": run.variance_standard_error}
    assert len(rows) == 20
    for i, (t, name, c, value, z) in enumerate(rows):
        at = 1 + i // 4, int(c)
        assert float(t) == pytest.approx(run.t[at[0]])
        have = getattr(run, name)[at]
        assert float(value) == pytest.approx(have, rel=1e-6)
        assert float(z) == pytest.approx((have - exact[name][at]) / errors[name][at], abs=0.00501)


def test_plots_show_the_run_that_is_told(tmp_path, monkeypatch, capsys):
    """Mean, band, exact curve and the first paths of the same run."""
    kept = []
    monkeypatch.setattr("sdefast.plots.save", lambda ax, file: kept.append(ax))
    out = printed(capsys, "--seed", 4, "--dtype", "float64", "--steps", 400, "--plot", tmp_path / "x.png")
    assert str(tmp_path / "x.png") in out
    settings = {"x0": 2.0, "t1": 0.8, "n_steps": 400, "seed": 4, "dtype": "float64", "method": "euler-maruyama"}
    run = sf.simulate(OU, n_paths=3000, save_at="all", moments=4, **settings)
    lines = {line.get_label(): line for line in kept[0].lines if not line.get_label().startswith("_")}
    assert np.array_equal(lines["mean of 3,000 paths"].get_ydata(), run.mean[:, 0])
    np.testing.assert_allclose(lines["mean, exact"].get_ydata(), OU.mean(run.t, 2.0), rtol=1e-12)
    paths = [line.get_ydata() for line in kept[0].lines if line.get_color() == "0.6"]
    assert np.array_equal(np.transpose(paths), run.x[:, :20, 0])
    assert "seed 4" in kept[0].get_title()


def test_step_sizes_jumps_and_sensitivities(capsys):
    """What jumps have of parameters is an option too, with dashes or as in Python."""
    how = ("--dt", 1 / 12, "--paths", 2000, "--seed", 3, "--method", "qe", "--jump-mean", -0.2, "--jump_std", 0.1)
    assert main(["simulate", "bates", *map(str, (*how, "--sensitivities", "mu", "x0[0]", "--method", "heun"))]) == 0
    out = capsys.readouterr().out
    model = sf.Bates(jump_mean=-0.2, jump_std=0.1)
    run = sf.simulate(
        model, x0=model.example_start, t1=1.0, dt=1 / 12, n_paths=2000, seed=3, method="heun", save_at=2, paths=False,
        moments=4, sensitivities=["mu", "x0[0]"],
    )  # fmt: skip
    assert "2,000 paths x 12 steps of heun" in out
    assert f"{run.mean[-1, 0]:.7g}" in out
    rows = re.findall(r"^ *(\S+) +in (\S+)\[(\d)\] +(\S+) +(\S+)$", out, re.M)
    assert len(rows) == 5 * 2 * 2
    for t, name, c, value, error in rows:
        i = int(np.argmin(np.abs(run.t - float(t))))
        found = run.sensitivities[name]
        assert float(value) == pytest.approx(found.mean[i, int(c)], rel=1e-6)
        assert float(error) == pytest.approx(found.standard_error[i, int(c)], rel=5e-3)
    assert main(["simulate", "bates", *map(str, how)]) == 0
    assert "2,000 paths x 12 steps of qe" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["simulate", "ou", "--dt", "0.1", "--steps", "5"])
    assert "--dt takes the place of --steps" in capsys.readouterr().err
