"""Where a module can be mutated: one operator, constant, condition or returned value at a time, replaced in its source.

What is declared rather than computed is left alone: annotations, decorators, docstrings, messages, `zip(strict=True)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

SWAPPED = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
"""Each operator, and what takes its place."""

DECLARED = {"annotation", "returns", "decorator_list", "type_comment"}
"""Fields of nodes that are not mutated."""


@dataclass(frozen=True)
class Mutant:
    """A module with one change in it."""

    module: str
    start: int
    end: int
    text: str
    source: str
    statement: tuple[int, int]
    """The first and the last line of the statement that was changed, or of the head of one with a body."""

    @property
    def mutated(self) -> str:
        """The source of the module with the change."""
        return self.source[: self.start] + self.text + self.source[self.end :]

    @property
    def line(self) -> int:
        """The number of the line where the change begins."""
        return self.source.count("\n", 0, self.start) + 1

    @property
    def before(self) -> str:
        """The lines that were changed, as they were."""
        return self._lines(self.source, self.end)

    @property
    def after(self) -> str:
        """The lines that were changed, as they are now."""
        return self._lines(self.mutated, self.start + len(self.text))

    @property
    def compiles(self) -> bool:
        """Whether Python accepts the change."""
        try:
            compile(self.mutated, self.module, "exec")
        except SyntaxError:
            return False
        return True

    def _lines(self, source: str, end: int) -> str:
        first = source.rfind("\n", 0, self.start) + 1
        last = source.find("\n", end)
        return " ".join(line.strip() for line in source[first : last if last >= 0 else None].splitlines())


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of their places; a few of them do not compile."""
    lines = source.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]

    def position(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())  # Python counts bytes

    def span(node: ast.AST) -> tuple[int, int]:
        return position(node.lineno, node.col_offset), position(node.end_lineno, node.end_col_offset)

    made = [
        Mutant(module, start, end, text, source, lines_of_statement)
        for node, lines_of_statement in _nodes(ast.parse(source))
        for start, end, text in _changes(node, source, span)
    ]
    return sorted(made, key=lambda mutant: (mutant.start, mutant.end, mutant.text))


def _nodes(node: ast.AST, lines: tuple[int, int] = (1, 1)) -> Iterator[tuple[ast.AST, tuple[int, int]]]:
    """Nodes that compute something, each with the lines of its statement."""
    if isinstance(node, (ast.JoinedStr, ast.Raise)) or _is_declared(node):
        return
    if isinstance(node, (ast.stmt, ast.match_case)):
        lines = _head(node)
    yield node, lines
    for name, field in ast.iter_fields(node):
        if name not in DECLARED:
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from _nodes(child, lines)


def _is_declared(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in ("stacklevel", "strict")
    if isinstance(node, ast.FunctionDef) and any("overload" in ast.dump(each) for each in node.decorator_list):
        return True  # nothing calls it
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _head(statement: ast.AST) -> tuple[int, int]:
    first = statement.pattern.lineno if isinstance(statement, ast.match_case) else statement.lineno
    body = getattr(statement, "body", None) or getattr(statement, "cases", None)
    if body is None:
        return first, statement.end_lineno
    inner = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else body[0].lineno
    return first, max(first, inner - 1)


def _changes(node: ast.AST, source: str, span) -> Iterator[tuple[int, int, str]]:
    """What can be put in the place of a part of a node: `(start, end, text)`."""
    match node:
        case ast.Compare(left=left, ops=operators, comparators=right):
            for a, operator, b in zip([left, *right], operators, right, strict=False):
                yield from _swapped(operator, source, span(a)[1], span(b)[0])
        case ast.BoolOp(op=operator, values=values):
            for a, b in pairwise(values):
                yield from _swapped(operator, source, span(a)[1], span(b)[0])
        case ast.BinOp(left=a, op=operator, right=b) | ast.AugAssign(target=a, op=operator, value=b):
            yield from _swapped(operator, source, span(a)[1], span(b)[0])
        case ast.UnaryOp(op=ast.Not()):
            start, _ = span(node)
            yield start, start + len("not "), ""
        case ast.UnaryOp(op=ast.USub()):
            start, _ = span(node)
            yield start, start + 1, ""
        case ast.Constant(value=value) if (new := _other(value)) is not None:
            yield *span(node), new
        case ast.Return(value=value) if not isinstance(value, (ast.Constant, type(None))):
            yield *span(value), "None"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield from _negated(test, source, span)
        case ast.comprehension(ifs=conditions):
            for condition in conditions:
                yield from _negated(condition, source, span)


def _swapped(operator: ast.AST, source: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Another operator between two operands, which end and begin at these places but for parentheses."""
    if type(operator) in SWAPPED:
        old, new = SWAPPED[type(operator)]
        found = re.search(re.escape(old).replace(r"\ ", r"\s+"), source[start:end])
        if found:
            yield start + found.start(), start + found.end(), new


def _other(value: object) -> str | None:
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, (int, float)):
        return repr(value + 1)
    return None


def _negated(condition: ast.AST, source: str, span) -> Iterator[tuple[int, int, str]]:
    """The opposite of a condition, where no operator in it can be swapped for that."""
    if not isinstance(condition, (ast.BoolOp, ast.Compare, ast.UnaryOp, ast.Constant)):
        start, end = span(condition)
        yield start, end, f"(not ({source[start:end]}))"
