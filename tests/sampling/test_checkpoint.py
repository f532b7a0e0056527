"""A burn-in that finds the step size goes on from its checkpoint, whole rounds at a time."""

import numpy as np
import pytest
from run import checkpointed

import sdefast as sf
from sdefast.sampling import adaptation


class Stopped(Exception):  # noqa: N818  an end, not an error
    """What ends a run too soon."""


QUARTIC = sf.targets.Target(lambda x: -(x[0] ** 4) / 4)


HOW = {
    "target": QUARTIC, "n_steps": 60, "burn_in": 40, "n_chains": 50, "x0": 0.5, "seed": 2, "diagnostics": 4,
    "dtype": "float32", "method": "mala", "adapt": True,
}  # fmt: skip


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The checkpoint of a run that was stopped after 25 of the 40 rounds of its burn-in."""
    checkpointed.write_always(monkeypatch.setattr)
    rounds, run_round = [], adaptation._run_round

    def run_or_stop(*arguments):
        if len(rounds) == 25:
            raise Stopped
        rounds.append(1)
        return run_round(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(adaptation, "_run_round", run_or_stop)
        with pytest.raises(Stopped):
            sf.langevin(**HOW, checkpoint=tmp_path / "run")
    return tmp_path / "run"


def test_it_goes_on_within_the_burn_in(stopped, monkeypatch, capfd):
    rounds, run_round = [], adaptation._run_round
    monkeypatch.setattr(adaptation, "_run_round", lambda *given: rounds.append(1) or run_round(*given))
    resumed = sf.langevin(**HOW, checkpoint=stopped, progress=True)
    assert len(rounds) == 15
    assert resumed.cost.found == 25 / 60
    assert "100%" in capfd.readouterr().err
    whole = sf.langevin(**HOW)
    assert checkpointed.digest(resumed) == checkpointed.digest(whole)
    assert np.array_equal(resumed.step_size, whole.step_size)
    assert resumed.ess == whole.ess


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"target": sf.targets.Target(lambda x: -(x[0] ** 4) / 5)}, "with other functions or starts"),
        ({"x0": np.full((50, 1), 0.25)}, "x0 is"),
        ({"adapt": 0.6}, "adapt is True there and 0.6 here"),
    ],
)
def test_another_call_is_refused(how, message, stopped):
    before = stopped.read_bytes()
    with pytest.raises(ValueError, match=message):
        sf.langevin(**{**HOW, **how}, checkpoint=stopped)
    assert stopped.read_bytes() == before
