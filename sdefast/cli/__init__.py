"""The command line: ``python -m sdefast``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..run.keywords import called_here
from ..run.lock import LockedError
from . import diffusion, info, langevin, sgd, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 for input that is refused."""
    parser = argparse.ArgumentParser(prog="python -m sdefast", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (simulate, sgd, langevin, diffusion, info):
        command.register(commands)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_meant(unknown, options)}")
    try:
        options.run(options)
    except (ValueError, TypeError, MemoryError, ImportError, OSError, FloatingPointError, LockedError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted\n")
    return 0


def _meant(unknown: Sequence[str], options: argparse.Namespace) -> str:
    """What the first unknown option is called here, for the end of an error message."""
    names = [name for name in vars(options) if name not in ("command", "run")]
    known = {name: name for name in names} | {f"n_{name}": name for name in names}  # n_steps is --steps
    for text in unknown:
        found = called_here(text[2:].split("=")[0].replace("-", "_"), known) if text.startswith("--") else None
        if found is not None:
            return f"; did you mean --{known[found].replace('_', '-')}?"
    return ""
