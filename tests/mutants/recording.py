"""Which tests run which line, and how long each takes: recorded once by pytest-cov, and again where tests have changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from coverage import CoverageData

SUITE = ["-m", "not slow", "-p", "no:cacheprovider", "-q", "--doctest-modules"]
SUITE += ["--ignore-glob=keras_struct/core/backend/torch*", "--ignore=tests/backends", "--ignore=tests/mutants"]
"""How tests are run: the quick ones and the examples in docstrings, without those of other backends."""

SECONDS = "TEST_SECONDS_FILE"
DECLARED = "tests/documentation/"
"""Where tests are that look at what modules declare, such as defaults: they run no line of it."""


class Recording:
    """The tests that passed, in a folder, with their seconds and lines; `update` brings it up to date."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.facts = folder / "tests.json"
        self.seconds: dict[str, float] = {}
        if self.facts.exists():
            self.seconds = json.loads(self.facts.read_text())["seconds"]

    def update(self, processes: int) -> None:
        """Run what is new or has changed; all tests where the library has."""
        known = json.loads(self.facts.read_text()) if self.facts.exists() else {"library": "", "files": {}}
        library, files = digest(Path("keras_struct").rglob("*.py")), {str(p): digest([p]) for p in test_files()}
        same = known["library"] == library
        changed = [name for name, text in files.items() if known["files"].get(name) != text]
        targets = changed if same else ["tests", "keras_struct"]
        if not targets:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {test: s for test, s in self.seconds.items() if same and _is_still_there(test, changed)}
        self.seconds = kept | self._run(targets, ["--cov-append"] if same else [], processes)
        self._save(library=library, files=files)

    def drop(self, tests: set[str]) -> None:
        """Do not use some tests any more, until their file changes."""
        self.seconds = {test: seconds for test, seconds in self.seconds.items() if test not in tests}
        self._save()

    def _save(self, **facts) -> None:
        known = json.loads(self.facts.read_text()) if self.facts.exists() else {}
        self.facts.write_text(json.dumps(known | facts | {"seconds": self.seconds}))

    def _run(self, targets: list[str], options: list[str], processes: int) -> dict[str, float]:
        print("recording which tests run which lines:", *(targets if len(targets) < 9 else ["many tests"]), flush=True)
        result = self.folder / "seconds.json"
        result.unlink(missing_ok=True)
        env = os.environ | {SECONDS: str(result), "COVERAGE_FILE": str(self.folder / "coverage"), "TEST_SECONDS": "120"}
        options = [*options, "--cov=keras_struct", "--cov-context=test", "--cov-report=", "-p", __name__]
        workers = ["-n", str(processes), "--dist", "worksteal"]
        subprocess.run([sys.executable, "-m", "pytest", *SUITE, *options, *workers, *targets], env=env, check=False)
        return json.loads(result.read_text())

    def tests(self, module: str, lines: tuple[int, int]) -> list[str]:
        """The tests that run a statement; if it runs on import only, those that run anything of its module, or else all.

        To the latter come those that look at what modules declare.
        """
        by_line = self._contexts(module)
        inside = {c for line in range(lines[0], lines[1] + 1) for c in by_line.get(line, ()) if c}
        contexts = inside or {c for contexts in by_line.values() for c in contexts if c}
        tests: set[str] = set()
        files = (
            set() if inside else {file for test in self.seconds if (file := test.split("::")[0]).startswith(DECLARED)}
        )
        for context in contexts:
            test, _, phase = context.rpartition("|")
            tests.add(test)
            if phase != "run":  # a fixture of the module, perhaps: other tests look at what it made
                files.add(test.split("::")[0])
        return self.ordered([t for t in self.seconds if t in tests or t.split("::")[0] in files] or list(self.seconds))

    @cache  # noqa: B019  (there is one recording)
    def _contexts(self, path: str) -> dict[int, list[str]]:
        data = CoverageData(str(self.folder / "coverage"))
        data.read()
        return data.contexts_by_lineno(path)

    def ordered(self, tests: list[str]) -> list[str]:
        """Files whose tests are quick come first; the tests of a file stay together, for the sake of its fixtures."""
        files: dict[str, list[str]] = {}
        for test in tests:
            files.setdefault(test.split("::")[0], []).append(test)
        groups = [sorted(group, key=self.seconds.__getitem__) for group in files.values()]
        groups.sort(key=lambda group: sum(self.seconds[t] for t in group) / len(group))
        return [test for group in groups for test in group]

    def timed(self, tests: list[str]) -> dict[str, float]:
        """Tests with their seconds."""
        return {test: self.seconds[test] for test in tests}

    def within(self, tests: list[str], limit: float) -> list[str]:
        """The first tests, as many as take no more than a number of seconds."""
        taken, spent = [], 0.0
        for test in tests:
            spent += self.seconds[test]
            if spent > limit and taken:
                break
            taken.append(test)
        return taken


def _is_still_there(test: str, changed: list[str]) -> bool:
    file = test.split("::")[0]
    return file not in changed and os.path.exists(file)


def test_files() -> list[Path]:
    """The modules that hold tests; a new example in a docstring is a change of the library."""
    return sorted(p for p in Path("tests").rglob("test_*.py") if p.parts[1] not in ("backends", "mutants"))


def digest(paths) -> str:
    """The same as long as the texts of some files are."""
    texts = (path.read_bytes() for path in sorted(paths))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


# ------------------------------------------------------------------------------------------- this module as pytest's plugin

_spent: dict[str, float] = {}
_failed: set[str] = set()


def pytest_runtest_logreport(report):
    _spent[report.nodeid] = _spent.get(report.nodeid, 0.0) + report.duration
    if not report.passed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session):
    if SECONDS in os.environ and not hasattr(session.config, "workerinput"):
        passed = {test: round(s, 4) for test, s in _spent.items() if test not in _failed}
        Path(os.environ[SECONDS]).write_text(json.dumps(passed))
