"""Draws the packages of the library and who imports whom, from the imports in its code."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2] / "keras_struct"
MARK = "<!-- packages -->"
ROOMS = ("core", "measure")
"""Packages whose parts are drawn one by one."""
ALONE = ("activations", "features", "registration")
"""Modules that are not public names put together from others."""
PUBLIC = "public modules"
WIDTH, ROW, BOX = 880, 60, 28
COLORS = {"core": "#3f51b5", "measure": "#3f51b5", "policies": "#3f51b5", PUBLIC: "#ef6c00"}
FEATURES = dict.fromkeys(("units", "sparse", "symmetry", "nas", "freenets", "pretrained", "data"), "#2e7d32")


def on_page_markdown(markdown, **_):
    """Put the picture where a page has the mark."""
    return markdown.replace(MARK, f"<figure>{picture(imports(ROOT))}</figure>") if MARK in markdown else markdown


def imports(root: Path) -> dict[str, set[str]]:
    """Which other boxes of the picture each box imports."""
    files = {module_of(path, root): path for path in sorted(root.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        if (own := box_of(module, root)) is None:
            continue
        used = {box_of(name, root) for name in imported(ast.parse(path.read_text()), set(files))}
        found.setdefault(own, set()).update(used - {own, None})
    return found


def module_of(path: Path, root: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def box_of(module: str, root: Path) -> str | None:
    """The box that a module is drawn in, or `None` for the package itself."""
    _, *parts = module.split(".")
    if not parts or (parts[0] in ROOMS and len(parts) == 1):
        return None
    if parts[0] in ROOMS:
        return ".".join(parts[:2])
    return parts[0] if parts[0] in ALONE or (root / parts[0]).is_dir() else PUBLIC


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """Modules that code imports when it runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules else node.module for name in names)
        else:
            yield from imported(node, modules)


def ranks(graph: dict[str, set[str]]) -> dict[str, int]:
    """How many boxes lie below each, on the longest way down.

    Raises:
        ValueError: If boxes import each other in a circle.
    """
    found: dict[str, int] = {}

    def rank(box: str, above: tuple[str, ...] = ()) -> int:
        if box in above:
            raise ValueError(f"{' imports '.join((*above, box))}: no picture can show what is above what.")
        if box not in found:
            found[box] = max((1 + rank(other, (*above, box)) for other in sorted(graph[box])), default=0)
        return found[box]

    for box in graph:
        rank(box)
    return found


def essential(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports that do not follow from others: not from a box to what it imports through a third one, too."""
    below: dict[str, set[str]] = {}
    for box in sorted(graph, key=ranks(graph).get):
        below[box] = set().union(graph[box], *(below[other] for other in graph[box]))
    through = {box: set().union(*(below[other] for other in graph[box])) for box in graph}
    return [(box, other) for box in sorted(graph) for other in sorted(graph[box] - through[box])]


def chains(graph: dict[str, set[str]]) -> list[list]:
    """Each arrow as the places that it passes, one in each row."""
    level = ranks(graph)
    return [
        [box, *((box, other, row) for row in range(level[box] - 1, level[other], -1)), other]
        for box, other in essential(graph)
    ]


def ordered(graph: dict[str, set[str]], arrows: list[list]) -> list[list]:
    """Rows of boxes and places between them, in an order in which few arrows cross."""
    level = ranks(graph)
    rows: list[list] = [[box for box in sorted(graph) if level[box] == row] for row in range(max(level.values()) + 1)]
    for row, place in ((place[2], place) for chain in arrows for place in chain[1:-1]):
        rows[row].append(place)
    beside: dict = {}
    for left, right in (pair for chain in arrows for pair in pairwise(chain)):
        beside.setdefault(left, []).append(right)
        beside.setdefault(right, []).append(left)
    for _ in range(24):
        for row in (*rows, *reversed(rows)):
            at = {place: x for other in rows for place, x in positions(other).items()}
            row.sort(key=lambda place: mean([at[other] for other in beside.get(place, [place])]))
    return rows


def mean(values: list[float]) -> float:
    """The mean of some numbers."""
    return sum(values) / len(values)


def size(place) -> float:
    """How wide something in a row is."""
    return 7.6 * len(place) + 18 if isinstance(place, str) else 12


def positions(row: list) -> dict:
    """Where the middle of each place of a row lies."""
    gap = (WIDTH - sum(map(size, row))) / (len(row) + 1)
    found, x = {}, 0.0
    for place in row:
        found[place] = x + gap + size(place) / 2
        x += gap + size(place)
    return found


def picture(graph: dict[str, set[str]]) -> str:
    """The boxes and arrows as an SVG image, without blank lines, as Markdown wants it."""
    arrows = chains(graph)
    rows = ordered(graph, arrows)
    at = {p: (x, (len(rows) - 1 - i) * ROW + BOX) for i, row in enumerate(rows) for p, x in positions(row).items()}
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(rows) * ROW}" role="img" '
        'font-family="sans-serif" font-size="13" aria-label="Packages and their imports">'
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="currentColor"/></marker></defs>'
    )
    return "\n".join(
        [head, *(arrow(chain, at) for chain in arrows), *(box(name, *at[name]) for name in graph), "</svg>"]
    )


def arrow(chain: list, at: dict) -> str:
    """One arrow, from the lower edge of a box through places to the upper edge of another."""
    points = [at[place] for place in chain]
    points[0], points[-1] = (points[0][0], points[0][1] + BOX / 2), (points[-1][0], points[-1][1] - BOX / 2)
    path = f"M{points[0][0]:.0f},{points[0][1]:.0f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        path += f" C{x:.0f},{(y + to_y) / 2:.0f} {to_x:.0f},{(y + to_y) / 2:.0f} {to_x:.0f},{to_y:.0f}"
    title = f"<title>{chain[0]} imports {chain[-1]}</title>"
    return f'<path d="{path}" fill="none" stroke="currentColor" opacity="0.5" marker-end="url(#to)">{title}</path>'


def box(name: str, x: float, y: float) -> str:
    """One box with its name."""
    color = {**COLORS, **FEATURES}.get(name.partition(".")[0], "#757575")
    left, top, width = x - size(name) / 2, y - BOX / 2, size(name)
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX}" rx="4" fill="{color}" fill-opacity="0.18" '
        f'stroke="{color}"/><text x="{x:.0f}" y="{y + 4.5:.0f}" text-anchor="middle" fill="currentColor">{name}</text>'
    )
