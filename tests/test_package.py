"""The package as a package: import time and light, stubs in step with the extension, doctests, command line."""

import ast
import doctest
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sdefast as sf
from sdefast import _core
from sdefast.cli import main


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout


def test_import_loads_nothing_heavy() -> None:
    loaded = json.loads(python("import json, sys, sdefast; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"numba", "scipy", "torch", "matplotlib", "tqdm", "xarray", "dask"}
    assert heavy.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith("sdefast.least_squares")]


def test_a_package_that_is_not_compiled_says_so(tmp_path: Path) -> None:
    """Python started in a checkout finds the sources there before the installed package.

    Without the site's hooks, by which an editable installation finds what is compiled wherever the sources lie.
    """
    (tmp_path / "sdefast").mkdir()
    (tmp_path / "sdefast" / "__init__.py").write_text(Path(sf.__file__).read_text())
    packages = str(Path(np.__file__).parents[1])
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.append({packages!r}); import sdefast"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(
        f"ImportError: the package sdefast in {tmp_path / 'sdefast'} is not compiled for this Python"
    )
    assert "start it in another folder" in said


EACH = """
import os, sdefast as sf
for name in sf.__all__:
    if not os.fork():  # a process in which no other has been used
        os._exit(name not in dir(sf) or getattr(sf, name) is None)
    print(name, os.wait()[1])
"""


@pytest.mark.thorough
def test_every_name_is_there_at_first_use() -> None:
    assert python(EACH) == "".join(f"{name} 0\n" for name in sf.__all__)


@pytest.mark.parametrize("name", [name for name in sf.__all__ if isinstance(getattr(sf, name), type(sf))])
def test_modules_show_public_names_alone(name: str) -> None:
    module = getattr(sf, name)
    assert set(module.__all__) <= set(dir(module))
    assert not [shown for shown in dir(module) if shown.startswith("_")]
    foreign = [shown for shown in dir(module) if getattr(module, shown) in (np, importlib, sf.sde)]
    assert not foreign


def test_all_names_are_there_at_once() -> None:
    assert python("from sdefast import *; print(sgd.__module__, quasi.__name__)") == (
        "sdefast.least_squares.sgd sdefast.sde.quasi\n"
    )


def test_stubs_name_what_the_extension_holds() -> None:
    stubs = ast.parse(Path(sf.__file__).with_name("_core.pyi").read_text())
    named = {node.name for node in stubs.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    named |= {node.target.id for node in stubs.body if isinstance(node, ast.AnnAssign)}
    assert named == {name for name in dir(_core) if not name.startswith("__")}


@pytest.mark.thorough
def test_stubs_match_the_extension(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text(r"sdefast\._core\.ScoreSteps")  # whose metaclass is pybind11's; its members are looked at
    command = [sys.executable, "-m", "mypy.stubtest", "--allowlist", str(allowed), "sdefast._core"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def modules() -> list[str]:
    return [
        m.name for m in pkgutil.walk_packages(sf.__path__, "sdefast.") if not m.name.endswith(("__main__", "_core"))
    ]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_has_a_docstring_with_an_example() -> None:
    # Made by other calls, tables, or modules
    plain = {
        "AnnealedChains",
        "Chains",
        "METHODS",
        "Model",
        "Simulation",
        "TraceError",
        "SCHEMES",
        "targets",
        "diffusion",
        "noise",
        "math",
        "wiener",
        "quasi",
        "Multilevel",
        "boundaries",
        "events",
        "functionals",
        "jumps",
        "gibbs",
        "inputs",
        "Descent",
        "Comparison",
        "GradientDescent",
        "NoisyDescent",
    }
    for name in set(sf.__all__) - plain:
        assert ">>>" in (getattr(sf, name).__doc__ or ""), name


@pytest.mark.parametrize("model", ["brownian", "ou", "black-scholes", "cir", "cev", "heston", "double-well", "merton"])
def test_command_line_prints_moments_beside_exact_ones(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", model, "--paths", "20000", "--steps", "200", "--dtype", "float64"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^ +\S+ +(?:mean|variance)\S* .*$", out, re.M)
    assert len(rows) == (20 if model == "heston" else 10)
    if model == "double-well":
        return
    z = [float(row.split()[-1]) for row in rows]
    assert max(map(abs, z)) < 5
    assert "path-steps per second" in out


def test_command_line_takes_the_models_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    main(["simulate", "ou", "--paths", "4096", "--steps", "10", "--kappa", "2.5", "--x0", "3", "--seed", "5"])
    assert "kappa=2.5" in capsys.readouterr().out


def test_command_line_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ou.png"
    main(["simulate", "ou", "--paths", "5000", "--steps", "50", "--plot", str(file)])
    assert file.read_bytes().startswith(b"\x89PNG")
    assert str(file) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "ou", "--paths", "0"], "n_paths must be between 1"),
        (["simulate", "ou", "--kappa", "-1"], "kappa must be positive"),
        (["simulate", "ou", "--x0", "1", "2"], "x0 must be 1 number"),
        (["simulate", "ou", "--plot", "no/folder/x.png"], "folder"),
        (["simulate", "ou", "--plot", "x.xyz"], "must end in one of"),
        (["simulate", "nonsense"], "invalid choice"),
        (["simulate", "ou", "--n-paths", "3"], "unrecognized arguments: --n-paths 3; did you mean --paths?"),
        (["simulate", "ou", "--qqq"], "unrecognized arguments: --qqq\n"),
    ],
)
def test_command_line_refuses(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert "instruction set" in out
    assert "threads" in out


def test_plot_and_xarray() -> None:
    run = sf.simulate(sf.Heston(), x0=(100.0, 0.04), t1=1.0, n_steps=20, n_paths=100, seed=3, save_at="all")
    ax = run.plot(component=1, n_paths=7)
    assert len(ax.lines) >= 8
    data = run.to_xarray()
    assert dict(data.sizes) == {"time": 21, "component": 2, "path": 100}
    assert data.attrs["seed"] == 3
    assert float(data["mean"][-1, 0]) == run.mean[-1, 0]


def test_repr_tells_what_was_run() -> None:
    run = sf.simulate(sf.CIR(), x0=1.0, t1=1.0, n_steps=10, n_paths=100, seed=3)
    for part in ("CIR(", "100 paths x 10 steps", "euler-maruyama", "float64", "seed 3", "path-steps/s"):
        assert part in repr(run)
