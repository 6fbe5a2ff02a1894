"""Arguments of the subcommands of `keras-struct`."""

from __future__ import annotations

import argparse
import math
from typing import Any

from keras_struct.cli.choices import BACKENDS, GROUPS, METHODS, STRATEGIES


def add_inspect(commands: Any) -> None:
    """Add `inspect`."""
    inspect = commands.add_parser(
        "inspect",
        help="show what of a saved model can be edited, and what it costs",
        description="Print the unit axes of a saved model, what is fixed and why, and the costs of each layer.",
    )
    inspect.add_argument("model", help="a file that model.save('NAME.keras') wrote")
    _imports(inspect)
    inspect.add_argument("--picture", metavar="FILE.png", help="also draw widths and costs")
    inspect.add_argument("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")


def add_prune(commands: Any) -> None:
    """Add `prune`."""
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
    _imports(prune)
    add("--flops", type=_number, metavar="X", help="floating point operations of a forward pass")
    add("--parameters", type=_number, metavar="X", help="number of weights")
    add("--latency", type=_number, metavar="X", help="share of the time of a forward pass, measured here")
    add(
        "--criterion",
        default="smallest-norm",
        metavar="NAME",
        help="which units go: a selector, such as taylor, fisher or most-similar; smallest-norm by default",
    )
    add("--scope", choices=("global", "local"), default="global", help="rank all units together, or those of each axis")
    add("--minimum", type=_positive, default=1, metavar="N", help="units that each axis keeps; 1 by default")
    add("--multiple", type=_positive, default=1, metavar="N", help="widths are multiples of this; 1 by default")
    add(
        "--data",
        help="mnist, fashion_mnist, cifar10, cifar100, digits, an .npz or a .csv file, for criteria that need it",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    _scaling(add)
    add("--epochs", type=_positive, metavar="N", help="train on the data afterwards")
    add("--plain", action="store_true", help="save stock Keras layers, which need no keras_struct to be loaded")
    add("--out", metavar="FILE.keras", help="where to save; NAME_pruned.keras by default")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--quiet", action="store_true", help="no progress bars")


def add_equinas(commands: Any) -> None:
    """Add `equinas`."""
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
        help="digits (default), rotated_mnist, mnist, cifar10, ..., an .npz or a .csv file of images",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    _scaling(add)
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


def add_darts(commands: Any) -> None:
    """Add `darts`."""
    darts = commands.add_parser(
        "darts",
        help="search a cell for your images or a text",
        description=(
            "Search the operations of a cell by gradient descent (DARTS-PRIME, or another method), then train the network that "
            "it means. Writes a folder with the genotype, drawings, the trained network and a report."
        ),
    )
    add = darts.add_argument
    add(
        "--data",
        default="digits",
        help="images: digits (default), mnist, cifar10, cifar100, ..., an .npz or a .csv file; texts: sums, ptb, or a .txt file",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz, and of texts, NAME.txt")
    _scaling(add)
    add("--method", choices=METHODS, default="darts-prime", help="how to search; darts-prime by default")
    add("--epochs", type=_positive, default=10, metavar="N", help="of the search; 10 by default")
    add("--channels", type=_positive, default=4, metavar="N", help="of the first cells of the supernet; 4 by default")
    add("--layers", type=_positive, default=3, metavar="N", help="cells of the supernet; 3 by default")
    add("--nodes", type=_positive, default=4, metavar="N", help="of a cell; 4 by default")
    add("--ratio", type=_number, default=10.0, metavar="X", help="steps of the weights for one of the architecture; 10")
    add(
        "--strength",
        type=_number,
        metavar="X",
        help="of the pull towards a discrete cell; 0.1, or 1 of proximity on texts",
    )
    add("--batch-size", type=_positive, default=64, metavar="N", help="64 by default")
    add("--architecture-rate", type=_number, metavar="X", help="learning rate of Adam for the architecture; 3e-4, 3e-3")
    add("--train-epochs", type=_positive, default=10, metavar="N", help="of the network that was found; 10 by default")
    add(
        "--train-channels", type=_positive, metavar="N", help="of its first cells; twice those of the search by default"
    )
    add("--train-layers", type=_positive, metavar="N", help="cells of it; as many as in the search by default")
    add("--augment", action="store_true", help="shift images by up to an eighth, and mirror them")
    add("--units", type=_positive, default=64, metavar="N", help="of recurrent cells; 64 by default")
    add("--length", type=_positive, default=35, metavar="N", help="of pieces of text, on average; 35 by default")
    add("--learning-rate", type=_number, default=2.0, metavar="X", help="of SGD for weights on texts; 2 by default")
    add("--dropout", type=_share, default=0.1, metavar="X", help="share that is left out on texts; 0.1 by default")
    add("--level", choices=("word", "character"), help="what of a text is predicted; words of ptb, else characters")
    add("--samples", type=_positive, metavar="N", help="use only so many training samples, words or characters")
    add("--seed", type=_seed, default=0, metavar="N", help="of weights, order and draws; 0 by default")
    add("--resume", metavar="FOLDER", help="keep the search there, and go on from there if it was interrupted")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--out", default="runs", metavar="FOLDER", help="where a folder for this run is made; runs by default")
    add("--quiet", action="store_true", help="no progress bars")


def add_freenet(commands: Any) -> None:
    """Add `freenet`."""
    freenet = commands.add_parser(
        "freenet",
        help="networks without layers, whose edges evolve, against dense ones",
        description=(
            "Train networks of neurons without layers, whose edges come between neurons that fire together and go between those "
            "that are silent together, and dense networks with one hidden layer of as many parameters. Prints a table and writes "
            "a folder with the largest network, its compact form, plots and a report."
        ),
    )
    add = freenet.add_argument
    add(
        "--data",
        default="digits",
        help="digits (default), mnist, fashion_mnist, emnist_letters, ..., an .npz or a .csv file",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    _scaling(add)
    add("--neurons", type=_widths, default=(20, 40), metavar="20,40", help="sizes of the networks; 20,40 by default")
    add("--epsilon", type=_epsilon, default=0.25, metavar="X", help="pairs act together in more than 1 - X of samples")
    add("--warmup", type=_positive, default=2, metavar="N", help="epochs before edges change; 2 by default")
    add("--value", choices=("stored", "zero", "fresh"), default="stored", help="weight of edges that come; stored")
    add("--epochs", type=_positive, default=20, metavar="N", help="passes over the training data; 20 by default")
    add("--batch-size", type=_positive, default=128, metavar="N", help="128 by default")
    add("--learning-rate", type=_number, default=1e-3, metavar="X", help="of Adam; 1e-3 by default")
    add("--repeats", type=_positive, default=1, metavar="N", help="train each network with so many seeds; 1 by default")
    add("--seed", type=_seed, default=0, metavar="N", help="the first of them; 0 by default")
    add("--backend", choices=BACKENDS, help="what Keras runs on; its own configuration by default")
    add("--out", default="runs", metavar="FOLDER", help="where a folder for this run is made; runs by default")
    add("--quiet", action="store_true", help="print the table only")


def add_grow(commands: Any) -> None:
    """Add `grow`."""
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
    add(
        "--data",
        default="digits",
        help="digits (default), mnist, fashion_mnist, cifar10, cifar100, an .npz or a .csv file",
    )
    add("--data-dir", metavar="FOLDER", help="local copies of data sets, NAME.npz")
    _scaling(add)
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


def _imports(parser: Any) -> None:
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="NAME",
        help="a module, or a file FILE.py, with layers of your own that the model uses; may be given several times",
    )


def _scaling(add: Any) -> None:
    add("--rescale", action="store_true", help="divide features of dtype uint8 of an .npz file by 255")
    add("--target", metavar="COLUMN", help="column of a .csv file that holds the classes; the last one by default")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a positive number, received {text!r}")
    return value


def _epsilon(text: str) -> float:
    value = _number(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, received {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 up to 1, received {text!r}")
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
