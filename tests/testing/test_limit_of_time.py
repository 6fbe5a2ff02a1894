"""A test that takes long without saying so fails, alone or in one of several processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import subprocess
import sys
import time

import pytest

SPIN = "import time; t = time.process_time()\\nwhile time.process_time() - t < 0.4: pass"


@pytest.fixture
def slow_data():
    exec(SPIN)


def test_quick(): ...


def test_sleeps():
    time.sleep(0.5)


def test_computes():
    exec(SPIN)


def test_computes_elsewhere():
    subprocess.run([sys.executable, "-c", SPIN], check=True)


def test_prepares(slow_data): ...


@pytest.mark.slow
def test_says_so():
    exec(SPIN)
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "xdist", "-n", "2")])
def test_only_unmarked_tests_that_compute_for_long_fail_and_say_what_to_do(arguments, tmp_path):
    (tmp_path / "conftest.py").write_text((Path(__file__).parents[2] / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")
    (tmp_path / "test_cases.py").write_text(CASES)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=tmp_path,
        env={**os.environ, "TEST_SECONDS": "0.3", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    stopped = re.findall(r"^(?:FAILED|ERROR) test_cases.py::(\w+)", run.stdout, re.MULTILINE)
    assert sorted(stopped) == ["test_computes", "test_computes_elsewhere", "test_prepares"]
    assert re.search(r"took 0\.\d s of the processor in its fixtures, and a test may take 0\.3", run.stdout)
    assert run.returncode == 1
