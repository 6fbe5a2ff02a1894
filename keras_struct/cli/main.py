"""Arguments, errors and exit codes of `keras-struct`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from keras_struct.cli.arguments import add_darts, add_equinas, add_freenet, add_grow, add_inspect, add_prune


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


_WRITING = {
    "grow": "keras_struct.cli.grow",
    "equinas": "keras_struct.cli.equinas",
    "darts": "keras_struct.cli.darts",
    "freenet": "keras_struct.cli.freenet",
}
"""Modules of the commands that write a folder, imported when they are needed."""


def _run(options: argparse.Namespace, arguments: Sequence[str]) -> None:
    if options.command in _WRITING:
        folder = _writable(options.out)
        module = importlib.import_module(_WRITING[options.command])
        command = getattr(module, f"{options.command}_command")
        from keras_struct.cli.runs import carry_out

        carry_out(command, options, folder, shlex.join(["keras-struct", *arguments]))
        return
    from keras_struct.cli.surgery import inspect_command, prune_command

    (inspect_command if options.command == "inspect" else prune_command)(options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="keras-struct", description="Networks that change their own structure while they train.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_grow(commands)
    add_inspect(commands)
    add_prune(commands)
    add_equinas(commands)
    add_darts(commands)
    add_freenet(commands)
    return parser


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
