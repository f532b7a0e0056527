"""``python -m sdefast info``: what this installation is and what it runs on."""

from __future__ import annotations

import argparse
from typing import Any

from ..config import show_config


def register(commands: Any) -> None:
    """Add the command."""
    commands.add_parser("info", help="version, instruction set, threads, memory").set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the configuration."""
    show_config()
