"""Genotypes: which operations a cell consists of, in the notation of the field."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Gene = tuple[str, int]
"""An operation and the state that it reads: 0 and 1 are the outputs of the two cells before, 2 + i is node i."""

PRIMITIVES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Operations of the DARTS search space; the order decides ties."""
OPERATIONS = (*PRIMITIVES, "sep_conv_7x7", "conv_7x1_1x7")
"""Operations that cells know: those of NASNet and AmoebaNet, too."""
ACTIVATIONS = ("none", "tanh", "relu", "sigmoid", "identity")
"""Activations of the recurrent search space."""


@dataclass(frozen=True)
class Genotype:
    """Cells of a convolutional network, two genes for each node.

    `str` gives the notation that papers and logs use, `Genotype.parse` reads it.

    Attributes:
        normal: Genes of the cells that keep resolution, two for each node in turn.
        normal_concat: States that these output, as numbered in `Gene`.
        reduce: Genes of the cells that halve resolution.
        reduce_concat: States that these output.

    Raises:
        ValueError: If an operation is unknown, a gene reads a state that comes later, or a state is output that does not exist.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019.

    >>> print(Genotype([("skip_connect", 0), ("sep_conv_3x3", 1)], [2], [("max_pool_3x3", 0), ("none", 1)], [2]))
    Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=range(2, 3), \
reduce=[('max_pool_3x3', 0), ('none', 1)], reduce_concat=range(2, 3))
    """

    normal: tuple[Gene, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Gene, ...]
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for part in ("normal", "reduce"):
            genes, concat = _genes(part, getattr(self, part)), _states(part, getattr(self, f"{part}_concat"))
            if not genes or len(genes) % 2:
                raise ValueError(
                    f"A cell has two genes for each node. Received {len(genes)} in `{part}`: {list(genes)}"
                )
            for i, (name, source) in enumerate(genes):
                _check_gene(part, i, name, source, OPERATIONS, 2 + i // 2)
            _check_concat(part, concat, 0, 2 + len(genes) // 2)
            object.__setattr__(self, part, genes)
            object.__setattr__(self, f"{part}_concat", concat)

    def __str__(self) -> str:
        parts = [f"{n}={list(getattr(self, n))}, {n}_concat={_range(getattr(self, n + '_concat'))}" for n in CELLS]
        return f"Genotype({', '.join(parts)})"

    def to_json(self) -> str:
        """Return the genotype as JSON; `Genotype.parse` reads it, too."""
        return json.dumps({n: getattr(self, n) for n in ("normal", "normal_concat", "reduce", "reduce_concat")})

    def digest(self) -> str:
        """Return 12 characters that are the same for equal genotypes, on any machine."""
        return _digest(self)

    def count(self, operation: str) -> int:
        """Return how many genes have an operation: many `"skip_connect"`s are a sign of a collapsed search."""
        return sum(name == operation for name, _ in (*self.normal, *self.reduce))

    @classmethod
    def parse(cls, text: str) -> Genotype:
        """Return the genotype that a text denotes: the field's notation, nested lists for each node, or JSON.

        Nothing is executed.

        Args:
            text: Such as what `str` or a log gives.

        Raises:
            ValueError: If it is none.

        >>> found = Genotype([("skip_connect", 0), ("none", 1)], [2], [("none", 0), ("none", 1)], [2])
        >>> Genotype.parse(str(found)) == Genotype.parse(found.to_json()) == found
        True
        """
        return cls(
            **_parsed(text, ("normal", "normal_concat", "reduce", "reduce_concat"), "Genotype(normal=[...], ...)")
        )


CELLS = ("normal", "reduce")


@dataclass(frozen=True)
class RecurrentGenotype:
    """A recurrent cell: one gene for each node.

    Attributes:
        recurrent: Activation and predecessor of each node; 0 is the state that comes of the input, i the i-th node.
        concat: Nodes whose mean is output.

    Raises:
        ValueError: As `Genotype`.

    References:
        Liu, Simonyan, Yang, *DARTS: Differentiable Architecture Search*, ICLR 2019.
    """

    recurrent: tuple[Gene, ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        genes, concat = _genes("recurrent", self.recurrent), _states("recurrent", self.concat)
        if not genes:
            raise ValueError("A recurrent cell has one gene for each node. Received none.")
        for i, (name, source) in enumerate(genes):
            _check_gene("recurrent", i, name, source, ACTIVATIONS, 1 + i)
        _check_concat("recurrent", concat, 1, 1 + len(genes))
        object.__setattr__(self, "recurrent", genes)
        object.__setattr__(self, "concat", concat)

    def __str__(self) -> str:
        return f"Genotype(recurrent={list(self.recurrent)}, concat={_range(self.concat)})"

    def to_json(self) -> str:
        """Return the genotype as JSON; `RecurrentGenotype.parse` reads it, too."""
        return json.dumps({"recurrent": self.recurrent, "concat": self.concat})

    def digest(self) -> str:
        """Return 12 characters that are the same for equal genotypes, on any machine."""
        return _digest(self)

    @classmethod
    def parse(cls, text: str) -> RecurrentGenotype:
        """Return the genotype that a text denotes; see `Genotype.parse`."""
        return cls(**_parsed(text, ("recurrent", "concat"), "Genotype(recurrent=[...], concat=range(1, 9))"))


def parsed(text: str) -> Genotype | RecurrentGenotype:
    """Return the genotype of either kind that a text denotes; see `Genotype.parse`."""
    return RecurrentGenotype.parse(text) if "recurrent" in text else Genotype.parse(text)


def _genes(part: str, given: Any) -> tuple[Gene, ...]:
    flat: list[Any] = []
    for gene in given:
        nested = isinstance(gene, Sequence) and not isinstance(gene, str) and gene and not isinstance(gene[0], str)
        flat.extend(gene if nested else [gene])
    for gene in flat:
        sound = isinstance(gene, Sequence) and len(gene) == 2 and isinstance(gene[0], str) and _whole(gene[1])
        if not sound or isinstance(gene, str):
            raise ValueError(
                f"A gene is (operation, state), such as ('skip_connect', 0). Received in `{part}`: {gene!r}"
            )
    return tuple((name, int(source)) for name, source in flat)


def _states(part: str, given: Any) -> tuple[int, ...]:
    if not isinstance(given, Sequence | range) or isinstance(given, str) or not all(map(_whole, given)):
        raise ValueError(
            f"What a cell outputs is a list of states, such as range(2, 6). Received of `{part}`: {given!r}"
        )
    return tuple(int(state) for state in given)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_gene(part: str, i: int, name: str, source: int, known: Sequence[str], states: int) -> None:
    if name not in known:
        raise ValueError(f"Unknown operation {name!r} in gene {i} of `{part}`. Known are {', '.join(known)}.")
    if not 0 <= source < states:
        raise ValueError(
            f"Gene {i} of `{part}` reads state {source}: expected 0 to {states - 1}, a state that exists before its node."
        )


def _check_concat(part: str, concat: tuple[int, ...], first: int, states: int) -> None:
    if not concat or not all(first <= state < states for state in concat) or len(set(concat)) < len(concat):
        raise ValueError(
            f"`{part}` outputs states {list(concat)}: expected one or more of {first} to {states - 1}, each once."
        )


def _range(states: tuple[int, ...]) -> str:
    """As papers write it: a range where states follow each other."""
    first, behind = states[0], states[0] + len(states)
    return f"range({first}, {behind})" if states == tuple(range(first, behind)) else str(list(states))


def _digest(genotype: Genotype | RecurrentGenotype) -> str:
    return hashlib.sha256(genotype.to_json().encode()).hexdigest()[:12]


def _parsed(text: str, names: tuple[str, ...], example: str) -> dict[str, Any]:
    problem = f"Cannot read a genotype: expected {example}, or its JSON. Received: {text!r}"
    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
        else:
            node: Any = ast.parse(text.strip(), mode="eval").body
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or node.args:
                raise ValueError(problem)
            if not node.func.id.startswith("Genotype"):
                raise ValueError(problem)
            found = {str(keyword.arg): _literal(keyword.value) for keyword in node.keywords}
    except (SyntaxError, RecursionError, TypeError, ValueError, MemoryError) as error:
        raise ValueError(problem) from error
    if set(found) != set(names):
        raise ValueError(f"{problem}, whose parts are {sorted(found)} instead of {sorted(names)}")
    return found


def _literal(node: ast.expr) -> Any:
    """The value of a literal or of `range(...)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        return range(*(ast.literal_eval(each) for each in node.args))
    return ast.literal_eval(node)
