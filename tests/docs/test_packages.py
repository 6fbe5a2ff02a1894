"""The picture of the packages is that of the code: every package is in it, and no arrow is missing or points upwards."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

HOOK = Path(__file__).parents[2] / "docs" / ".hooks" / "packages.py"
pytestmark = pytest.mark.skipif(not HOOK.exists(), reason="an installed package has no pages")


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("packages_hook", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(hook):
    return hook.imports(hook.ROOT)


def write(root, files):
    for name, text in files.items():
        path = (root / name).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_package_and_module_has_its_box(hook, graph):
    packages = {path.parent for path in hook.ROOT.glob("*/__init__.py")}
    single = {path.name for path in packages} - set(hook.ROOMS)
    parts = {f"{room}.{path.stem}" for room in hook.ROOMS for path in (hook.ROOT / room).iterdir()}
    parts = {name for name in parts if not name.endswith(("__init__", "__pycache__"))}
    assert set(graph) == single | parts | set(hook.ALONE) | {hook.PUBLIC}
    assert set().union(*graph.values()) <= set(graph)


def test_the_page_has_the_picture(hook, graph):
    page = hook.ROOT.parent / "docs" / "guides" / "architecture.md"
    text = hook.on_page_markdown(page.read_text(), page=SimpleNamespace())
    drawn = re.search(r"<figure>(.*?)</figure>", text, re.DOTALL)[1]
    assert "\n\n" not in drawn
    image = ElementTree.fromstring(drawn)
    names = [found.text for found in image.iter() if found.tag.endswith("}text")]
    assert sorted(names) == sorted(graph)
    titles = {found.text for found in image.iter() if found.tag.endswith("}title")}
    assert titles == {f"{left} imports {right}" for left, right in hook.essential(graph)}
    assert hook.on_page_markdown("Another page") == "Another page"


def test_arrows_point_downwards_and_say_all_that_is_imported(hook, graph):
    level, arrows = hook.ranks(graph), hook.essential(graph)
    assert all(level[left] > level[right] for left, right in arrows)
    reached = {}
    for box in sorted(graph, key=level.get):
        direct = {right for left, right in arrows if left == box}
        reached[box] = direct.union(*(reached[other] for other in direct))
    assert all(graph[box] <= reached[box] for box in graph)
    rows = hook.ordered(graph, hook.chains(graph))
    assert all(level[place] == number for number, row in enumerate(rows) for place in row if isinstance(place, str))


def test_imports_are_read_from_the_code(hook, tmp_path):
    root, hidden = tmp_path / "lib", "if TYPE_CHECKING:\n    from lib.units import grow"
    files = {
        "__init__": "",
        "core/model/editor": "import numpy",
        "core/model/methods": "from lib.core.surgery import plan\nfrom lib.core.model.editor import edit",
        "core/surgery/__init__": "",
        "core/surgery/plan": f"from typing import TYPE_CHECKING\n{hidden}",
        "units/grow": "def grow():\n    import lib.core.model.methods",
        "layers": "from lib.units.grow import grow",
    }
    write(root, files)
    assert hook.imports(root) == {
        "core.model": {"core.surgery"},
        "core.surgery": set(),
        "units": {"core.model"},
        hook.PUBLIC: {"units"},
    }


def test_circles_are_refused(hook):
    with pytest.raises(ValueError, match="a imports b imports a"):
        hook.ranks({"a": {"b"}, "b": {"a"}})
