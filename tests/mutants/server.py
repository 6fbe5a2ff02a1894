"""Runs tests of mutants, each in a process that forks from this one, which has imported what takes long to import.

Its arguments are a folder for what it writes, and the modules to import. Each line of JSON on the standard input is a request,
each line on the standard output its answer. It works in the current folder, which is a copy of the project: a mutated module
is written there, and put back.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

GIGABYTES = 12
IMPORTED_BEFORE = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
"""What pytest says of modules that the server has imported."""


class Run:
    """Pytest's plugin in the forked process: which tests run in which order, which one failed, and none may hang."""

    def __init__(self, tests: dict[str, float], failed: Path):
        self.tests = tests
        self.failed = failed

    def pytest_collection_modifyitems(self, items):
        wanted = {item.nodeid: item for item in items}
        items[:] = [wanted[test] for test in self.tests if test in wanted]

    def pytest_runtest_logstart(self, nodeid):
        self.failed.write_text(nodeid)
        limit(20 + 10 * self.tests.get(nodeid, 0))

    def pytest_sessionfinish(self):
        limit(60)


def limit(seconds: float) -> None:
    """End this process after so many seconds of the processor: other load does not count, unless nothing goes on at all."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(int(20 * seconds))


def run_tests(tests: dict[str, float], options: list[str], folder: Path) -> None:
    """Become the process that runs the tests; never return."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES * 2**30, GIGABYTES * 2**30))
    limit(120)
    import pytest

    files = dict.fromkeys(test.split("::")[0] for test in tests)
    code = pytest.main(
        [*options, *IMPORTED_BEFORE, "-x", f"--basetemp={folder / 'temporary'}", *files],
        [Run(tests, folder / "test.txt")],
    )
    sys.stdout.flush()
    os._exit(code)


def outcome(tests: dict[str, float], options: list[str], folder: Path) -> tuple[str, str]:
    """What the tests say, and the one that said it: survived, killed, or killed since it took too long."""
    (folder / "test.txt").write_text("")
    process = os.fork()
    if not process:
        try:
            run_tests(tests, options, folder)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(3)
    _, status = os.waitpid(process, 0)
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    test = (folder / "test.txt").read_text() or "import"
    if os.WIFSIGNALED(status):
        return ("timeout" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else "killed"), test
    return ("survived", "") if os.WEXITSTATUS(status) in (0, 5) else ("killed", test)  # 5: no test was collected


def answer(request: dict, number: int, folder: Path) -> dict:
    """Run the tests of a request with its module replaced; without one, of the library as it is."""
    start, path = time.monotonic(), request["module"] and Path(request["module"])
    if path:
        before, times = path.read_bytes(), path.stat()
        path.write_text(request["source"])
        os.utime(path, (number, number))  # so that no byte code of another mutant is taken for this one's
    try:
        said, test = outcome(request["tests"], request["options"], folder)
    finally:
        if path:
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return {"outcome": said, "test": test, "seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    """Answer requests until there are no more."""
    import conftest  # noqa: F401  (the settings of the tests, before TensorFlow reads them)

    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        importlib.import_module(name)
    for number, line in enumerate(sys.stdin, start=1):
        print(json.dumps(answer(json.loads(line), number, folder)), flush=True)


if __name__ == "__main__":
    main()
