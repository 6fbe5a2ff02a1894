"""The mutation tests: which mutants there are, and that a test which notices one is told from one which does not."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import EQUIVALENT, Results, equivalents, report, try_out
from tests.mutants.places import mutants
from tests.mutants.recording import Recording
from tests.mutants.servers import Server

SMALL = '''
LIMIT = 3


def inside(x: int, low=0) -> bool:
    """Whether 0 < x."""
    if not low:
        raise ValueError(f"{low + 1}")
    return low <= x and x < LIMIT


def larger(x):
    return x + 1 if bool(x) else -x
'''

TESTS = """
from small import inside, larger

def test_inside():
    assert inside(2, 1)

def test_larger():
    assert larger(1) == 2

def test_endless():
    while larger(0):
        pass
"""


def changes(source):
    return [(mutant.before, mutant.after) for mutant in mutants("small.py", source)]


def test_places():
    assert changes(SMALL) == [
        ("LIMIT = 3", "LIMIT = 4"),
        ("def inside(x: int, low=0) -> bool:", "def inside(x: int, low=1) -> bool:"),
        ("if not low:", "if low:"),
        ("return low <= x and x < LIMIT", "return None"),
        ("return low <= x and x < LIMIT", "return low < x and x < LIMIT"),
        ("return low <= x and x < LIMIT", "return low <= x or x < LIMIT"),
        ("return low <= x and x < LIMIT", "return low <= x and x <= LIMIT"),
        ("return x + 1 if bool(x) else -x", "return None"),
        ("return x + 1 if bool(x) else -x", "return x - 1 if bool(x) else -x"),
        ("return x + 1 if bool(x) else -x", "return x + 2 if bool(x) else -x"),
        ("return x + 1 if bool(x) else -x", "return x + 1 if (not (bool(x))) else -x"),
        ("return x + 1 if bool(x) else -x", "return x + 1 if bool(x) else x"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = (a) is not (b)", "x = (a) is (b)"),
        ("x = a not in b", "x = a in b"),
        ('x = "é" == b', 'x = "é" != b'),
        ("x = [a for a in b if a()]", "x = [a for a in b if (not (a()))]"),
        ("x //= 2", "x /= 2"),
        ("f(stacklevel=2, strict=True, flag=True)", "f(stacklevel=2, strict=True, flag=False)"),
        ("x = not (a or b)", "x = (a or b)"),
    ],
)
def test_each_kind_of_place(before, after):
    assert (before, after) in changes(before + "\n")


def test_what_is_declared_is_left_alone():
    assert changes("@register(1)\ndef f(a: Literal[1]) -> Literal[2]:\n    raise ValueError(1 + 1)\n") == []


def test_the_lines_of_a_statement():
    found = {
        mutant.after: mutant.statement
        for mutant in mutants("m.py", "def f():\n    if a(\n        1\n    ):\n        b(1)\n")
    }
    assert found["2"] == (2, 4)
    assert found["b(2)"] == (5, 5)


def test_equivalent_mutants_are_still_there():
    modules = {module for module, _, _ in equivalents()}
    there = {(m.module, m.before, m.after) for name in modules for m in mutants(name, Path(name).read_text())}
    assert equivalents() <= there, f"{EQUIVALENT.name} lists mutants of lines that have changed"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A server in a small project, and what its tests take."""
    folder = tmp_path_factory.mktemp("small")
    names = {
        "small.py": SMALL,
        "test_small.py": TESTS,
        "conftest.py": "",
        "pytest.ini": "[pytest]\nfilterwarnings = error\n",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, text in names.items():
            Path(name).write_text(text)
        server = Server(folder / "server", list(names), imported=("hypothesis",))
        recording = Recording(folder / "nothing")
    recording.seconds = {"test_small.py::test_inside": 0.001, "test_small.py::test_larger": 0.002}
    yield server, recording
    server.close()


def said_of(project, after):
    server, recording = project
    mutant = next(m for m in mutants("small.py", SMALL) if m.after == after)
    return mutant, try_out(mutant, list(recording.seconds), recording, server, limit=10)


def test_a_mutant_that_a_test_notices_is_killed(project):
    _, said = said_of(project, "return x + 2 if bool(x) else -x")
    assert (said["outcome"], said["test"]) == ("killed", "test_small.py::test_larger")


def test_a_mutant_that_no_test_notices_survives(project):
    _, said = said_of(project, "return low <= x and x <= LIMIT")
    assert (said["outcome"], said["test"]) == ("survived", "")


def test_the_module_is_put_back(project):
    server, recording = project
    said_of(project, "return x + 2 if bool(x) else -x")
    assert server.run(recording.seconds)["outcome"] == "survived"
    assert (server.folder / "project" / "small.py").read_text() == SMALL


def test_results_are_kept_and_survivors_tried_again_with_other_tests(project, tmp_path, capsys):
    outcomes = [said_of(project, text) for text in ("return x + 2 if bool(x) else -x", "LIMIT = 4")]
    results = Results(tmp_path / "results.jsonl")
    for mutant, said in outcomes:
        results.add(mutant, said)
    again = Results(tmp_path / "results.jsonl")
    assert [again.of(mutant)["outcome"] for mutant, _ in outcomes] == ["killed", "survived"]
    again.tests = "other tests"
    assert [again.of(mutant) is None for mutant, _ in outcomes] == [False, True]
    again.forget({"test_small.py::test_larger"})
    assert again.of(outcomes[0][0]) is None
    report([mutant for mutant, _ in outcomes], results)
    printed = capsys.readouterr().out
    assert "small.py:2\n- LIMIT = 3\n+ LIMIT = 4\n" in printed
    assert "| all | 2 | 1 | 0 | 0 | 1 | 50% |" in printed


def test_the_tests_that_run_a_line_come_quickest_first(tmp_path):
    recording = Recording(tmp_path)
    recording.seconds = {"a.py::slow": 3.0, "a.py::quick": 1.0, "b.py::quick": 0.5, "c.py::other": 0.1}
    contexts = {2: ["a.py::slow|run", "a.py::quick|run"], 3: ["b.py::quick|run"], 4: [""], 5: ["a.py::quick|setup"]}
    recording._contexts = lambda path: contexts
    assert recording.tests("small.py", (2, 3)) == ["b.py::quick", "a.py::quick", "a.py::slow"]
    assert recording.tests("small.py", (3, 3)) == ["b.py::quick"]
    assert recording.tests("small.py", (4, 4)) == ["b.py::quick", "a.py::quick", "a.py::slow"], "it runs on import"
    assert recording.tests("small.py", (5, 5)) == ["a.py::quick", "a.py::slow"], "a fixture that both use, perhaps"
    assert recording.within(recording.tests("small.py", (2, 3)), 2) == ["b.py::quick", "a.py::quick"]
