"""What tests of the GPU share."""

import pytest
from cards import card

from sdefast.cuda import target


@pytest.fixture
def quick(machines):
    """Where there is no card, kernels are executed from their PTX: for many launches that is faster than simulating."""
    if not target.SIMULATED:
        yield
        return
    with card(lambda program, *how: machines[program][1].run(*how)):
        yield
