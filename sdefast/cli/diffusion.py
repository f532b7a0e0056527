"""``python -m sdefast diffusion``: train networks, draw samples, judge them, run experiments.

What needs torch or matplotlib is imported when a command needs it.
"""

from __future__ import annotations

import argparse
import ast
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks, plots
from ..run import archive

if TYPE_CHECKING:
    from ..diffusion.training import Trained

#: What is told once, when a training begins: names of `train`, options, types, and words.
_BEGUN: dict[str, tuple[str, Any, str]] = {
    "data": (
        "--data",
        str,
        "digits, swiss-roll, two-moons, rings, mixture, checkerboard, a folder with MNIST's files, or a file .npy or "
        ".npz; default: digits",
    ),
    "objective": ("--objective", str, "flow, eps, eps-weighted, v, x0, edm or ve; default: flow"),
    "batch_size": ("--batch", int, "samples of a step; default: 64"),
    "learning_rate": ("--learning-rate", float, "the highest; default: 0.001"),
    "warmup": ("--warmup", int, "steps in which it rises; default: 100"),
    "decay": ("--decay", int, "step at which it has fallen to 0; default: it falls as an inverse square root"),
    "weight_decay": ("--weight-decay", float, "of AdamW; default: 0.01"),
    "clip_norm": ("--clip-norm", float, "what the gradient's norm is cut to; default: 1"),
    "ema": ("--ema", float, "width of the average of weights, as a part of the steps so far; default: 0.1"),
    "label_drop": ("--label-drop", float, "part of the labels that are left out; default: 0.1"),
}

_OUT = "run"

#: What the trainings of several seeds are, in their folder.
_SEEDS = "seeds.json"


def register(commands: Any) -> None:
    """Add the command, with its own."""
    command = commands.add_parser("diffusion", help="train diffusion models, draw samples, judge them")
    kinds = command.add_subparsers(dest="diffusion_command", required=True, metavar="COMMAND")
    for add in (_add_train, _add_sample, _add_evaluate, _add_plot, _add_experiment):
        add(kinds)


# Training ------------------------------------------------------------------------------------------------------------


def _add_train(kinds: Any) -> None:
    parser = kinds.add_parser("train", help="train a network")
    parser.set_defaults(run=train)
    begun = parser.add_argument_group("what is trained")
    for name, (option, kind, words) in _BEGUN.items():
        begun.add_argument(option, dest=name, type=kind, metavar="X", help=words)
    begun.add_argument("--labels", action="store_const", const=True, help="tell the network the classes of the data")
    begun.add_argument("--amp", action="store_const", const=True, help="mixed precision, on a GPU")
    begun.add_argument("--seed", type=int, metavar="N", help="of all that is random; default: 0")
    begun.add_argument("--seeds", type=int, nargs="+", metavar="N", help="several, each in a folder seed-N of --out")
    begun.add_argument("--out", metavar="FOLDER", help=f"for checkpoints and losses; default: {_OUT}")
    going = parser.add_argument_group("how long, and where")
    going.add_argument("--steps", type=int, metavar="N", help="in all; default: 2000")
    going.add_argument("--save-every", type=int, metavar="N", help="steps between checkpoints; default: 500")
    going.add_argument("--resume", metavar="FOLDER", help="go on with what is there; all else is as it was")
    going.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    going.add_argument("--quiet", action="store_true", help="show no bar")


def train(options: argparse.Namespace) -> None:
    """Train, or go on with a training; a line for each at the end."""
    given = {name: getattr(options, name) for name in (*_BEGUN, "labels", "amp", "seed", "seeds", "out")}
    given = {name: value for name, value in given.items() if value is not None}
    going = {name: getattr(options, name) for name in ("steps", "save_every")}
    going = {name: value for name, value in going.items() if value is not None}
    going |= {"device": options.device, "progress": not options.quiet}
    if options.resume is not None:
        if given:
            raise ValueError(f"--resume goes on as it was begun: leave out {', '.join(map(_option, given))}")
        _resume(Path(options.resume), going)
        return
    if "seed" in given and "seeds" in given:
        raise ValueError("--seed and --seeds say the same: give one of them")
    _begin(given, going)


def _begin(given: dict[str, Any], going: dict[str, Any]) -> None:
    from ..diffusion.training.folder import refuse_taken

    out, seeds = Path(given.pop("out", _OUT)), given.pop("seeds", None)
    seed = given.pop("seed", 0)
    folders = {seed: _of_seed(out, seed) for seed in seeds} if seeds else {seed: out}
    for folder in folders.values():
        refuse_taken(folder)  # before an hour has gone into the first
    kept = {name: value for name, value in going.items() if name in ("steps", "save_every")}
    note = json.dumps({"seeds": seeds, "given": given, "going": kept})

    def noted(step: int, run: Trained) -> None:
        """What all seeds are to do is written when the first has begun: its settings were not refused."""
        if seeds and step == 1:
            with archive.replacing(str(out.absolute() / _SEEDS)) as file:
                file.write(note.encode())

    for seed, folder in folders.items():
        _one(seed, folder, given, going | {"callback": noted})


def _of_seed(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}"


def _one(seed: int, folder: Path, given: dict[str, Any], going: dict[str, Any]) -> None:
    from ..diffusion import training

    settings = {"data": "digits"} | given | going
    _told(folder, lambda: training.train(seed=seed, out=folder, **settings))


def _resume(folder: Path, going: dict[str, Any]) -> None:
    """Go on with a training, or with those of several seeds: begin what had not been begun."""
    from ..diffusion import training
    from ..diffusion.training.folder import CHECKPOINT

    file = folder / _SEEDS
    if (folder / CHECKPOINT).exists() or not file.is_file():
        _told(folder, lambda: training.resume(folder, **going))
        return
    try:
        begun = json.loads(file.read_text())
        folders = {seed: _of_seed(folder, seed) for seed in begun["seeds"]}
        given, steps = begun["given"], begun["going"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged: name the folder of one seed") from error
    for seed, one in folders.items():
        if (one / CHECKPOINT).exists():
            _told(one, lambda: training.resume(one, **going))  # noqa: B023
        else:
            _one(seed, one, given, steps | going)


def _told(folder: Path, work: Any) -> None:
    """What was trained, in a line."""
    began = time.perf_counter()
    run: Trained = work()
    seconds = time.perf_counter() - began
    loss = f", loss {run.log['loss'][-100:].mean():.4g}" if run.step else ""
    print(f"{folder}: {run.step} steps of {run.config['training']['batch_size']}{loss}, {seconds:.1f} s")


def _option(name: str) -> str:
    return _BEGUN[name][0] if name in _BEGUN else f"--{name}"


# Samples -------------------------------------------------------------------------------------------------------------


def _add_sample(kinds: Any) -> None:
    parser = kinds.add_parser(
        "sample", help="draw samples", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )  # fmt: skip
    parser.set_defaults(run=sample)
    parser.add_argument("folder", metavar="FOLDER", help="of a training, or its checkpoint")
    parser.add_argument("--n", type=int, default=64, help="how many")
    parser.add_argument("--method", default="dpm++2m-sde", help="sampler, see sdefast.diffusion.plan")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of the sampler")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--label", type=_labels, metavar="K[,K]", help="class to draw, or classes in turn")
    parser.add_argument("--guidance", type=float, default=1.0, metavar="W", help="how much a class weighs")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="samples at a time")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, default=Path("samples.npy"), metavar="FILE", help=".npy, or a picture")
    parser.add_argument("--quiet", action="store_true", help="show no bar")


def _labels(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def sample(options: argparse.Namespace) -> None:
    """Draw samples to a file."""
    from ..diffusion import training

    if options.out.suffix != ".npy":
        plots.check_file(options.out)
    elif not options.out.absolute().parent.is_dir():
        raise ValueError(f"--out must be in a folder that is there, got {options.out}")
    run = training.load(options.folder, device=options.device)
    labels = None if options.label is None else np.resize(options.label, options.n)
    drawn = run.sample(
        options.n, options.method, options.steps, seed=options.seed, labels=labels, guidance=options.guidance,
        batch=options.batch, progress=not options.quiet,
    )  # fmt: skip
    if options.out.suffix == ".npy":
        with archive.replacing(str(options.out.absolute())) as file:
            np.save(file, drawn)
    else:
        plots.save(_picture(drawn), options.out)
    print(
        f"{options.out}: {len(drawn)} samples of shape {drawn.shape[1:]}, by {options.method} in {options.steps} steps"
    )


def _picture(drawn: np.ndarray) -> Any:
    """Images side by side, the first two coordinates of points, a histogram of numbers."""
    from ..diffusion import figures

    if drawn.ndim == 4:
        return figures.grid(drawn)
    ax = plots.new_axes()
    if drawn.shape[1] == 1:
        plots.histogram(ax, drawn[:, 0], f"{len(drawn):,} samples")
        return ax
    ax.scatter(drawn[:, 0], drawn[:, 1], s=4, linewidths=0)
    ax.set_aspect("equal")
    return ax


# Judging -------------------------------------------------------------------------------------------------------------


def _add_evaluate(kinds: Any) -> None:
    parser = kinds.add_parser("evaluate", help="judge samples: their distance to real data")
    parser.set_defaults(run=evaluate)
    parser.add_argument("samples", metavar="FILE", help="samples, .npy or .npz")
    parser.add_argument("--data", default="digits", metavar="X", help="real ones, as for train; default: digits")
    parser.add_argument("--classifier", metavar="FILE", help="one that was saved; by default one is trained")
    parser.add_argument("--seed", type=int, default=0, help="of the classifier; default: 0")
    parser.add_argument("--quiet", action="store_true", help="show no bar")


def evaluate(options: argparse.Namespace) -> None:
    """Print a report."""
    from ..diffusion import quality

    print(
        quality.evaluate(
            options.samples, options.data, classifier=options.classifier, seed=options.seed, progress=not options.quiet
        )
    )


def _add_plot(kinds: Any) -> None:
    parser = kinds.add_parser("plot", help="draw the losses of trainings, of several their mean and a band")
    parser.set_defaults(run=plot)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="of trainings, or with folders seed-N of one")
    parser.add_argument(
        "--every", type=int, metavar="N", help="steps over which a loss is averaged; default: some 1 %%"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture")


def plot(options: argparse.Namespace) -> None:
    """Draw the losses of folders, each with a curve, seeds together."""
    from ..diffusion import figures, training

    plots.check_file(options.out)
    logs = {}
    for folder in map(Path, options.folders):
        runs = [folder] if (folder / "last.pt").exists() else sorted(p.parent for p in folder.glob("seed-*/last.pt"))
        logs[str(folder)] = [training.losses(one) for one in runs or [folder]]
    shortest = min(len(log) for runs in logs.values() for log in runs)
    every = max(shortest // 100, 1) if options.every is None else checks.count("--every", options.every)
    plots.save(figures.losses(logs, every=every), options.out)
    print(f"plot: {options.out}")


# Experiments ---------------------------------------------------------------------------------------------------------


def _add_experiment(kinds: Any) -> None:
    parser = kinds.add_parser(
        "experiment", help="run an experiment: a table and pictures", usage="%(prog)s [NAME [--option X ...]]"
    )
    parser.set_defaults(run=experiment)
    parser.add_argument("name", nargs="?", metavar="NAME", help="which one; without it they are listed")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="--option X", help="NAME --help tells them")


def experiment(options: argparse.Namespace) -> None:
    """Run an experiment with options of its own."""
    from ..diffusion import experiments

    if options.name is None:
        print("\n".join(f"{name:20} {words}" for name, words in experiments.EXPERIMENTS.items()))
        return
    known = experiments.options(options.name)
    parser = argparse.ArgumentParser(prog=f"python -m sdefast diffusion experiment {options.name}")
    parser.add_argument("--data", metavar="X", help="as for train")
    parser.add_argument("--out", metavar="FOLDER", help="for the table and the pictures")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    parser.add_argument("--quiet", action="store_true", help="show no bars")
    for name, default in known.items():
        parser.add_argument(f"--{name.replace('_', '-')}", nargs="+", metavar="X", help=f"default: {default}")
    found = vars(parser.parse_args(options.options))
    given = {name: _value(found[name], known[name]) for name in known if found[name] is not None}
    experiments.run(
        options.name, found["data"], out=found["out"], device=found["device"], progress=not found["quiet"], **given
    )


def _value(words: list[str], default: Any) -> Any:
    """What words on the command line mean: several where the default is several."""
    values = tuple(map(_literal, words))
    return values if isinstance(default, (tuple, list)) or len(values) > 1 else values[0]


def _literal(word: str) -> Any:
    """A number, True, False or None; anything else is the word itself."""
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word
