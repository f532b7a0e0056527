"""The command ``langevin``: what it prints is the run's, and what is wrong is said in a line."""

import re

import pytest
from conftest import thorough_but

import sdefast as sf
from sdefast.cli import main
from sdefast.cli.targets import TARGETS


def run(line):
    """The exit status of a command."""
    return main(line.split())


def test_the_table_is_that_of_the_run(capsys):
    assert run("langevin gaussian --method ula --step-size 0.3 --steps 40 --chains 3000 --seed 5") == 0
    printed = capsys.readouterr().out
    chains = sf.langevin(sf.targets.Gaussian(), step_size=0.3, n_steps=40, n_chains=3000, seed=5, moments=4)
    lines = [line.split() for line in printed.splitlines() if re.match(r" +40 ", line)]
    assert [line[1] for line in lines] == ["mean", "variance"]
    values = chains.mean[0, 0], chains.variance[0, 0]
    exact = chains.exact_mean[0, 0], chains.exact_variance[0, 0]
    errors = chains.standard_error[0, 0], chains.variance_standard_error[0, 0]
    for line, value, known, error in zip(lines, values, exact, errors, strict=True):
        assert float(line[2]) == pytest.approx(value, rel=1e-5)
        assert float(line[4]) == pytest.approx(known, rel=1e-5, abs=1e-12)
        assert float(line[5]) == pytest.approx((value - known) / error, abs=0.006)
    assert "seed 5" in printed


def test_adaptation_acceptance_and_diagnostics_are_told(capsys):
    assert run("langevin gaussian --method mala --adapt .7 --burn-in 100 --steps 300 --chains 1000") == 0
    printed = capsys.readouterr().out
    acceptance = float(re.search(r"acceptance: ([0-9.]+)", printed)[1])
    assert acceptance == pytest.approx(0.7, abs=0.03)
    assert "step size that was found" in printed
    assert "R-hat" in printed


def test_a_schedule_is_nothing_that_was_found(capsys):
    assert run("langevin gaussian --method mala --step-size 0.5/t --steps 40 --chains 100") == 0
    assert "found" not in capsys.readouterr().out


@pytest.mark.parametrize("name", thorough_but(["double-well", "funnel", "gaussian"], TARGETS))
def test_every_target_runs(name, capsys):
    assert main(f"langevin {name} --step-size 0.001 --steps 20 --chains 50".split()) == 0
    assert "chain-steps per second" in capsys.readouterr().out


def test_a_plot_is_written(tmp_path, capsys):
    file = tmp_path / "chains.png"
    assert main(f"langevin mixture --steps 50 --chains 200 --thin 10 --plot {file}".split()) == 0
    assert file.stat().st_size > 1000
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--friction 2", "no argument 'friction'"),
        ("--x0 a b", "--x0 must be numbers or sample"),
        ("--step-size 0", "--step-size must be positive"),
        ("--burn-in 30 --steps 20", "burn_in"),
    ],
)
def test_what_is_wrong_is_said(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(f"langevin gaussian --chains 10 {options}".split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err
