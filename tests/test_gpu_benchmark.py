"""``benchmarks/gpu.py`` in numba's simulator: everything is measured, and what cannot be says why."""

import json
import math
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import gpu
import pytest

SCRIPT = Path(gpu.__file__)

TYPES = "float32", "float64"
MODELS = "OU", "Black-Scholes", "Heston", "a user's OU", "a user's van der Pol"
KINDS = "final", "final, 4 moments", "stored now and then", "stored", "statistics at every time"


def benchmark(out, *arguments, **environment):
    command = [sys.executable, SCRIPT, "--no-build", "--no-tests", "--out", out, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """What the command printed and wrote."""
    out = tmp_path_factory.mktemp("gpu") / "gpu.json"
    done = benchmark(out, "--sizes", "tiny", NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(out.read_text())


def numbers(value):
    """All numbers in a part of the result."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [] if isinstance(value, str) else [value]


@pytest.mark.thorough
def test_all_is_measured(done):
    _, result = done
    assert result["errors"] == []
    assert [row["name"] for row in result["bounds"]] == [
        "words", "normals, float32", "normals, float64", "writing", "copying"
    ]  # fmt: skip
    found = [(row["model"], row["dtype"], row["kind"]) for row in result["workloads"]]
    assert sorted(found) == sorted(product(MODELS, TYPES, KINDS))
    assert [row["name"] for row in result["first calls"]] == ["in a warm process", "in a fresh process"]
    for part in gpu.PARTS:
        assert numbers(result[part])
        assert all(math.isfinite(number) and number > 0 for number in numbers(result[part]))
    for row in result["workloads"]:
        assert {"rate", "kernel_rate", "of_normals_bound", "of_writing_bound"} <= row.keys()
        assert row["normals_per_step"] == (2 if row["model"] in ("Heston", "a user's van der Pol") else 1)


@pytest.mark.thorough
def test_peers_that_are_absent_say_why(done):
    _, result = done
    peers = {(row["peer"].split(",")[0], row["dtype"]): row for row in result["peers"]}
    assert sorted(peers) == sorted(product(["numba", "cupy", "torch", "torch.compile"], TYPES))
    for (peer, _), row in peers.items():
        if peer == "numba":
            assert row["rate"]["median"] > 0
        else:
            assert "needs a card" in row["absent"]


@pytest.mark.thorough
def test_environment_and_tables(done):
    printed, result = done
    assert "simulator" in result["environment"]["cards"][0]["name"]
    assert result["environment"]["packages"]["sdefast"] != "absent"
    for model, dtype in product(MODELS, TYPES):
        assert f"| {model}, {dtype} |" in printed
    assert "failed" not in printed
    assert "FAILED" not in printed


@pytest.mark.thorough
def test_a_part_that_fails_takes_no_other_along(tmp_path):
    out = tmp_path / "gpu.json"
    done = benchmark(out, "--sizes", "tiny", "--minutes", "1e-4", NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 1
    result = json.loads(out.read_text())
    assert [error["part"] for error in result["errors"]] == list(gpu.PARTS)
    assert done.stdout.count("not done after") == 2 * len(gpu.PARTS)  # when it happens and at the end


def test_a_measurement_that_fails_leaves_its_traceback(tmp_path, capsys):
    outcome = gpu.Outcome(tmp_path / "gpu.json")
    outcome.measure("bounds", "nothing", lambda: {"unit": "bytes/s", "rate": {"median": 1 / 0}})
    outcome.measure("bounds", "something", lambda: {"unit": "bytes/s", "rate": {"median": 2.0}})
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["name"] for row in written["bounds"]] == ["something"]
    assert written["errors"][0]["error"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in written["errors"][0]["traceback"]
    assert "FAILED bounds, nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}, "no NVIDIA card"),
        pytest.param({"NUMBA_ENABLE_CUDASIM": "1"}, "--sizes tiny", marks=pytest.mark.thorough),
    ],
)
def test_one_line_where_nothing_can_be_measured(tmp_path, environment, message):
    done = benchmark(tmp_path / "gpu.json", **environment)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
