"""Arguments, errors and exit codes of `keras-struct`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_struct.cli.choices import BACKENDS, STRATEGIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command line without the program's name; that of the process by default.

    Returns:
        Exit code: 0, 2 for input that cannot be used, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _choose_backend(options.backend)
        folder = _writable(options.out)
        from keras_struct.cli.grow import grow_command

        grow_command(options, folder)
    except KeyboardInterrupt:
        print("\nkeras-struct: interrupted; nothing was written.", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"keras-struct: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-struct", description="Networks that change their own structure while they train."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    grow = commands.add_parser(
        "grow",
        help="train a network that sizes itself, and compare it with static ones",
        description=(
            "Train a multilayer perceptron that adds units while it trains; then static networks of its initial, its "
            "final and the maximal size with the same budget. Prints a table and writes a folder with the model, the "
            "log of its structure, a plot and a report."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    grow.add_argument(
        "--data", default="digits", help="digits, mnist, fashion_mnist, cifar10, cifar100, or an .npz file"
    )
    grow.add_argument("--data-dir", default=None, help="folder with local copies of data sets, NAME.npz")
    grow.add_argument("--strategy", choices=sorted(STRATEGIES), default="north-select", help="how to grow")
    grow.add_argument("--gamma", type=float, default=None, help="threshold factor; 0.97, or 0.8 below 34 units")
    grow.add_argument(
        "--hidden", type=_widths, default=(8, 8), metavar="8,8", help="units of each hidden layer at start"
    )
    grow.add_argument(
        "--max-units", type=_positive, default=None, help="largest width; by default 8 times the initial one"
    )
    grow.add_argument("--epochs", type=_positive, default=15, help="passes over the training data")
    grow.add_argument("--batch-size", type=_positive, default=None, help="64, or 512 from 10000 samples on")
    grow.add_argument("--learning-rate", type=float, default=None, help="3e-3, or 3e-4 from 10000 samples on")
    grow.add_argument("--seed", type=int, default=0, help="seed of weights, order and growth")
    grow.add_argument("--backend", choices=BACKENDS, default=None, help="what Keras runs on; KERAS_BACKEND by default")
    grow.add_argument("--out", default="runs", help="folder in which a folder for this run is made")
    grow.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


def _positive(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, received {text!r}")
    return value


def _widths(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
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
