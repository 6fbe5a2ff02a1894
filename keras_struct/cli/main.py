"""Arguments, errors and exit codes of `keras-struct`."""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from keras_struct.cli.choices import BACKENDS, CRITERIA, GROUPS, STRATEGIES


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the parsers of subcommands are of the same class."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"keras-struct: error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command line without the program's name; that of the process by default.

    Returns:
        Exit code: 0, 2 for input that cannot be used, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _choose_backend(options.backend)
        _run(options, arguments)
    except KeyboardInterrupt:
        print("\nkeras-struct: interrupted; nothing was written.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"keras-struct: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    if options.command == "grow":
        folder = _writable(options.out)
        from keras_struct.cli.grow import grow_command

        grow_command(options, folder, command=shlex.join(["keras-struct", *arguments]))
        return
    if options.command == "equinas":
        folder = _writable(options.out)
        from keras_struct.cli.equinas import equinas_command

        equinas_command(options, folder, command=shlex.join(["keras-struct", *arguments]))
        return
    from keras_struct.cli.surgery import inspect_command, prune_command

    (inspect_command if options.command == "inspect" else prune_command)(options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="keras-struct", description="Networks that change their own structure while they train.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_grow(commands)
    _add_inspect(commands)
    _add_prune(commands)
    _add_equinas(commands)
    return parser


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what of a saved model can be edited, and what it costs",
        description="Print the unit axes of a saved model, what is fixed and why, and the costs of each layer.",
    )
    inspect.add_argument("model", help="a file that model.save('NAME.keras') wrote")
    inspect.add_argument("--picture", metavar="FILE.png", help="also draw widths and costs")
    inspect.add_argument("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")


def _add_prune(commands: Any) -> None:
    prune = commands.add_parser(
        "prune",
        help="make a saved model smaller",
        description=(
            "Remove units of a saved model until it costs no more than it may, train it further if asked to, and save it. "
            "Costs up to 1 are shares of what the model costs now, larger ones absolute numbers."
        ),
    )
    add = prune.add_argument
    add("model", help="a file that model.save('NAME.keras') wrote")
    add("--flops", type=_number, metavar="X", help="floating point operations of a forward pass")
    add("--parameters", type=_number, metavar="X", help="number of weights")
    add("--latency", type=_number, metavar="X", help="share of the time of a forward pass, measured here")
    add(
        "--criterion", choices=tuple(CRITERIA), default="smallest-norm", help="which units go; smallest-norm by default"
    )
    add("--scope", choices=("global", "local"), default="global", help="rank all units together, or those of each axis")
    add("--minimum", type=_positive, default=1, metavar="N", help="units that each axis keeps; 1 by default")
    add("--multiple", type=_positive, default=1, metavar="N", help="widths are multiples of this; 1 by default")
    add("--data", help="mnist, fashion_mnist, cifar10, cifar100, digits or an .npz file, for criteria that need it")
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    add("--epochs", type=_positive, metavar="N", help="train on the data afterwards")
    add("--plain", action="store_true", help="save stock Keras layers, which need no keras_struct to be loaded")
    add("--out", metavar="FILE.keras", help="where to save; NAME_pruned.keras by default")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--quiet", action="store_true", help="no progress bars")


def _add_equinas(commands: Any) -> None:
    equinas = commands.add_parser(
        "equinas",
        help="let a network find the symmetry of images",
        description=(
            "Train an equivariant network of eight convolutions whose symmetries are searched, by gradient descent on mixtures "
            "(--mode d) or by an evolution that relaxes layers (--mode e). Writes a folder with the network, what was found in "
            "each epoch or generation, a plot and a report."
        ),
    )
    add = equinas.add_argument
    add("--mode", choices=("d", "e"), default="d", help="d: gradient descent (default); e: evolution")
    add(
        "--data",
        default="digits",
        help="digits (default), rotated_mnist, mnist, cifar10, ..., or an .npz file of images",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    add("--groups", type=_groups, default=GROUPS, metavar="C1,C4,D4", help="what to choose from; all six by default")
    add("--epochs", type=_positive, default=100, metavar="N", help="of gradient descent; 100 by default")
    add(
        "--generations", type=_positive, default=50, metavar="N", help="of evolution, half an epoch each; 50 by default"
    )
    add("--batch-size", type=_positive, default=64, metavar="N", help="64 by default")
    add(
        "--learning-rate", type=_number, metavar="X", help="0.01 of Adam for gradient descent, 0.1 of SGD for evolution"
    )
    add(
        "--width",
        type=_number,
        default=1.0,
        metavar="X",
        help="factor of the numbers of fields, 16 and 32; 1 by default",
    )
    add("--seed", type=_seed, default=0, metavar="N", help="of weights, order and draws; 0 by default")
    add("--resume", metavar="FOLDER", help="keep the search there, and go on from there if it was interrupted")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--out", default="runs", metavar="FOLDER", help="where a folder for this run is made; runs by default")
    add("--quiet", action="store_true", help="no progress bars")


def _groups(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().upper() for part in text.split(","))
    if not set(names) <= set(GROUPS) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(GROUPS)}, each once; received {text!r}")
    return names


def _add_grow(commands: Any) -> None:
    grow = commands.add_parser(
        "grow",
        help="train a network that sizes itself, and compare it with static ones",
        description=(
            "Train a multilayer perceptron that adds units while it trains; then static networks of its initial, its "
            "final and the maximal size with the same budget. Prints a table and writes a folder with the model, the "
            "log of its structure, a plot and a report."
        ),
    )
    add = grow.add_argument
    add("--data", default="digits", help="digits (default), mnist, fashion_mnist, cifar10, cifar100, or an .npz file")
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    add("--strategy", choices=tuple(STRATEGIES), default="north-select", help="how to grow; north-select by default")
    add("--gamma", type=_number, metavar="X", help="threshold factor; 0.97, or 0.8 if a layer has fewer than 34 units")
    add("--hidden", type=_widths, default=(8, 8), metavar="8,8", help="units of each hidden layer at the start")
    add("--max-units", type=_positive, metavar="N", help="largest width; 4 times the widest of --hidden by default")
    add("--epochs", type=_positive, default=15, metavar="N", help="passes over the training data; 15 by default")
    add("--batch-size", type=_positive, metavar="N", help="64, or 512 from 10,000 training samples on")
    add("--learning-rate", type=_number, metavar="X", help="of Adam; 3e-3, or 3e-4 from 10,000 training samples on")
    add("--seed", type=_seed, default=0, metavar="N", help="of weights, order and growth; 0 by default")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--out", default="runs", metavar="FOLDER", help="where a folder for this run is made; runs by default")
    add("--quiet", action="store_true", help="no progress bars")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a positive number, received {text!r}")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**32 - 1, received {text!r}")
    return int(text)


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, received {text!r}")
    return value


def _widths(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected positive widths with commas between them, such as 64,64; received {text!r}"
        )
    return tuple(int(part) for part in parts)


def _choose_backend(name: str | None) -> None:
    """Set the backend before Keras is imported for the first time."""
    if name is None:
        return
    if importlib.util.find_spec(name) is None:
        raise ImportError(f"the backend '{name}' is not installed: pip install {name}, or choose another --backend")
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != name:
        raise ValueError(f"Keras runs on {loaded.backend.backend()} already; start a new process for --backend {name}")
    os.environ["KERAS_BACKEND"] = name


def _writable(out: str) -> Path:
    """The folder for runs; checked before anything is trained."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot write into --out {out}: {reason}. Choose a folder that can be written") from None
    return folder
