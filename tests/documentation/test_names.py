"""What the library offers, what its pages name, and what the command lets choose are the same."""

import importlib
import re
from pathlib import Path

import pytest

from keras_struct import selectors, strategies
from keras_struct.cli.choices import GROUPS, STRATEGIES
from keras_struct.symmetry import Group

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"
MODULES = (
    "triggers",
    "initializers",
    "schedules",
    "strategies",
    "selectors",
    "measurements",
    "layers",
    "search",
    "callbacks",
    "datasets",
    "depth",
    "models",
    "applications",
    "statistics",
    "symmetry",
    "tuners",
    "visualization",
    "export",
    "testing",
)
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="an installed package has no pages")


def offered(module, of=object):
    """Classes and functions in `__all__`, by name."""
    found = importlib.import_module(f"keras_struct.{module}")
    named = {name: getattr(found, name) for name in found.__all__}
    return {
        n: o for n, o in named.items() if callable(o) and (of is object or (isinstance(o, type) and issubclass(o, of)))
    }


def is_base(kind):
    return any(getattr(getattr(kind, name), "__isabstractmethod__", False) for name in dir(kind))


def resolved(path):
    """What a dotted path stands for."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


def entries():
    """Each entry of the API pages, and the members that it is restricted to."""
    for page in sorted((DOCS / "api").glob("*.md")):
        for path, options in re.findall(r"^::: (\S+)\n((?: +.*\n?)*)", page.read_text() + "\n", re.MULTILINE):
            members = re.search(r"members: \[(.*)\]", options)
            yield path, None if members is None else set(re.split(r",\s*", members[1]))


@pytest.fixture(scope="module")
def documented():
    return [(path, resolved(path), members) for path, members in entries()]


def is_documented(name, offer, documented):
    home = getattr(offer, "__module__", "")
    for path, found, members in documented:
        if found is offer:
            return True
        inside = home == path or (name in getattr(found, "__all__", ()) and getattr(found, name, None) is offer)
        if inside and (members is None or name in members):
            return True
    return False


@pytest.mark.parametrize("module", MODULES)
def test_all_that_is_offered_is_on_an_api_page(module, documented):
    missing = [name for name, offer in offered(module).items() if not is_documented(name, offer, documented)]
    assert not missing, f"add `::: keras_struct.{module}.NAME` to a page of docs/api"


def tables(page):
    """Names in the first column of each table of a page, by the heading of that column."""
    found = {}
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text() + "\n", re.MULTILINE):
        head, _, *rows = table.splitlines()
        first = [re.split(r"(?<!\\)\|", row)[1] for row in rows]
        names = {name for cell in first for name in re.findall(r"`([A-Z]\w+)", cell)}
        found.setdefault(head.split("|")[1].strip(), set()).update(names)
    return found


@pytest.mark.parametrize(
    ("module", "heading"), [("triggers", "trigger"), ("initializers", "initializer"), ("schedules", "schedule")]
)
def test_the_guide_lists_every_trigger_initializer_and_schedule(module, heading):
    page = DOCS / "guides" / "policies.md"
    bases = {name for name, kind in offered(module).items() if is_base(kind)}
    listed, expected = tables(page)[heading], set(offered(module)) - bases
    assert listed == expected, f"correct the table in docs/guides/{page.name}: {sorted(listed ^ expected)}"
    assert all(f"`{name}`" in page.read_text() for name in bases)


@pytest.mark.parametrize(
    ("page", "kind"), [("pruning.md", selectors.Selector), ("connections.md", selectors.ConnectionSelector)]
)
def test_the_guides_list_every_selector(page, kind):
    expected = {name for name, found in offered("selectors", kind).items() if found is not kind}
    listed = tables(DOCS / "guides" / page)["selector"]
    assert listed == expected, f"correct the table in docs/guides/{page}: {sorted(listed ^ expected)}"


def test_every_strategy_is_in_a_table():
    pages = [README, *(DOCS / "guides").glob("*.md")]
    rows = "".join(
        line for page in pages for line in page.read_text().splitlines(keepends=True) if line.startswith("|")
    )
    missing = [name for name, kind in offered("strategies").items() if not is_base(kind) and f"`{name}" not in rows]
    assert not missing, "add them to a table of README.md or of a guide"


def test_tables_of_strategies_name_what_there_is():
    for page in (README, DOCS / "guides" / "connections.md"):
        assert tables(page)["strategy"] <= set(strategies.__all__)


def test_the_command_lets_choose_strategies_and_groups_that_there_are():
    assert set(STRATEGIES.values()) <= set(strategies.__all__)
    assert all(choice == spelled(name) for choice, name in STRATEGIES.items())
    assert {*GROUPS} == {group.name for group in Group("D4").subgroups()}


def spelled(name):
    """The name of a class as one writes it in a shell."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
