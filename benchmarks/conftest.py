"""Benchmarks are timed one after the other."""

import pytest


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return 0
