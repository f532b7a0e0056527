"""What is said in words and numbers: singular and plural, speeds, long compilations, public names."""

import logging
import re

import pytest

import sdefast as sf
from sdefast.jit import announce
from sdefast.words import counted, gone, per_second, product


def test_numbers():
    assert (counted(1, "path"), counted(0, "run"), counted(1200, "step")) == ("1 path", "0 runs", "1,200 steps")
    assert product(1, "path", 2, "step") == "1 path x 2 steps"
    assert (gone(1, 1, "run"), gone(2, 9, "run")) == ("1 of 1 run is", "2 of 9 runs are")


@pytest.mark.parametrize(
    ("n", "seconds", "said"),
    [(3200, 43.0, "74.4 x/s"), (1e6, 1e-3, "1 G x/s"), (12.34e6, 1.0, "12.3 M x/s"), (1e3, 1.0, "1 k x/s"),
     (1, 100.0, "0.01 x/s")],
)  # fmt: skip
def test_speeds(n, seconds, said):
    assert per_second(n, seconds, "x") == said


def test_what_runs_say_of_themselves():
    """One of everything: no plural, and no speed of 0."""
    run = sf.simulate(sf.BrownianMotion(), x0=0.0, t1=1.0, n_steps=1, n_paths=1, seed=1)
    fit = sf.sgd(sf.LeastSquares([0.5], 0.1), step_size=0.1, n_steps=1, n_runs=1, seed=1)
    chains = sf.langevin(sf.targets.Gaussian([0.0], [[1.0]]), step_size=0.1, n_steps=1, n_chains=1, seed=1)
    for result, words in ((run, "1 path x 1 step, "), (fit, "1 run x 1 iteration, "), (chains, "1 chain x 1 step, ")):
        said = repr(result)
        assert words in said
        assert not re.search(r"\b1 \w*(?:paths|steps|times|runs|iterations|chains)\b", said)
        assert not re.search(r"[^\d.]0 [GMk]? ?\S+/s", said)


def test_a_long_compilation_is_announced(monkeypatch, caplog):
    monkeypatch.setattr(announce, "SOON", 0.0)
    with caplog.at_level(logging.WARNING, "sdefast"), announce.announced("\n" * 2000):
        announce.threading.Event().wait(0.2)
    assert "compiling a kernel of about 2,000 operations" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "sdefast"), announce.announced("\n" * 20):
        announce.threading.Event().wait(0.2)
    assert not caplog.text


def test_public_names():
    modules = (
        sf,
        sf.functionals,
        sf.boundaries,
        sf.wiener,
        sf.quasi,
        sf.noise,
        sf.math,
        sf.inputs,
        sf.gibbs,
        sf.targets,
    )
    for module in modules:
        assert set(dir(module)) - {"__version__"} == set(module.__all__)
        assert all(hasattr(module, name) for name in dir(module))
