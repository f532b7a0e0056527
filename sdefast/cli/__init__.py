"""The command line: ``python -m sdefast``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..run.lock import LockedError
from . import diffusion, info, langevin, sgd, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 for input that is refused."""
    parser = argparse.ArgumentParser(prog="python -m sdefast", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (simulate, sgd, langevin, diffusion, info):
        command.register(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, TypeError, MemoryError, ImportError, OSError, FloatingPointError, LockedError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted\n")
    return 0
