"""Mutation testing on a sample: `make mutants MUTANTS=200 SEED=1`.

It says how good the tests are: how many small faults, put in at random places, make one of them fail. Only the tests that run
the line of a mutant are run, quickest first, and the first failure ends it. Results are kept in `.cache/mutants`: a run that
was interrupted goes on, and after tests were added only the mutants that survived are tried again.

Why not a tool that exists: cosmic-ray (8.7) starts a command for each mutant, and the same tests for all; importing TensorFlow
alone takes longer than most tests here. mutmut (3.8) forks and knows which tests call a function, but wraps each function in
one that chooses a mutant, which hides the signatures that Keras reads, and mutates nothing outside of functions. Neither
draws a sample from a seed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.places import Mutant, mutants
from tests.mutants.recording import Recording, digest, test_files
from tests.mutants.servers import Server, project_files

FOLDERS = ["core/structure", "core/surgery", "measure/statistics", "policies"]
FOLDERS += ["units", "sparse", "symmetry", "nas", "search", "depth"]
"""The parts of the library that are mutated."""

FIRST_SECONDS = 10
"""How long the tests take that are tried first."""

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
KEPT = Path(".cache/mutants")


def sample(number: int, seed: int, folders: list[str]) -> list[Mutant]:
    """Mutants drawn at random: more of them begin with the same ones."""
    paths = sorted(path for folder in folders for path in Path("keras_struct", folder).rglob("*.py"))
    all_of_them = [mutant for path in paths for mutant in mutants(str(path), path.read_text())]
    random.Random(seed).shuffle(all_of_them)
    return list(islice((mutant for mutant in all_of_them if mutant.compiles), number))


def equivalents() -> set[tuple[str, str, str]]:
    """Mutants that no test can tell from the original, by module and lines."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("mutant", [])
    return {(entry["module"], entry["before"], entry["after"]) for entry in listed}


class Results:
    """The outcomes of mutants, in a file with one line of JSON for each."""

    def __init__(self, path: Path):
        self.path = path
        self.tests = digest(test_files())
        lines = path.read_text().splitlines() if path.exists() else []
        self.entries = {self._key(entry): entry for entry in map(json.loads, lines)}

    @staticmethod
    def _key(entry: dict) -> tuple:
        return tuple(entry[name] for name in ("module", "line", "before", "after"))

    def of(self, mutant: Mutant) -> dict | None:
        """What is known of a mutant: that it survived only as long as the tests are the same."""
        entry = self.entries.get((mutant.module, mutant.line, mutant.before, mutant.after))
        return entry if entry and (entry["outcome"] != "survived" or entry["tests"] == self.tests) else None

    def add(self, mutant: Mutant, said: dict) -> None:
        """Keep an outcome, in the file too."""
        place = {"module": mutant.module, "line": mutant.line, "before": mutant.before, "after": mutant.after}
        entry = place | said | {"tests": self.tests}
        self.entries[self._key(entry)] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def forget(self, tests: set[str]) -> None:
        """Drop the mutants that tests killed which fail without them."""
        self.entries = {key: entry for key, entry in self.entries.items() if entry["test"] not in tests}
        self.path.write_text("".join(json.dumps(entry) + "\n" for entry in self.entries.values()))


def try_out(mutant: Mutant, tests: list[str], recording: Recording, server: Server, limit: float) -> dict:
    """A few tests first: most mutants need no more, and it takes time to collect thousands."""
    first = recording.within(tests, FIRST_SECONDS)
    said = server.run(recording.timed(first), mutant)
    rest = recording.within(tests[len(first) :], limit)
    if said["outcome"] == "survived" and rest:
        more = server.run(recording.timed(rest), mutant)
        said = more | {"seconds": round(said["seconds"] + more["seconds"], 1)}
    return said | {"tests_run": len(first) + len(rest)}


def run(drawn: list[Mutant], recording: Recording, results: Results, servers: list[Server], limit: float) -> None:
    """Try each mutant of which nothing is known, side by side."""
    free: SimpleQueue[Server] = SimpleQueue()
    for server in servers:
        free.put(server)

    def attempt(mutant: Mutant) -> None:
        tests = recording.tests(mutant.module, mutant.statement)
        server = free.get()
        said = try_out(mutant, tests, recording, server, limit)
        free.put(server)
        results.add(mutant, said)
        print(f"{said['outcome']:9} {said['seconds']:6} s  {mutant.module}:{mutant.line}  {mutant.after}", flush=True)

    known = equivalents()
    unknown = [m for m in drawn if results.of(m) is None and (m.module, m.before, m.after) not in known]
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(attempt, unknown))


def unreliable(drawn: list[Mutant], recording: Recording, results: Results, server: Server) -> set[str]:
    """Tests that killed mutants, and fail without one too when they are run like this."""
    killers = {entry["test"] for entry in map(results.of, drawn) if entry} & set(recording.seconds)
    failing: set[str] = set()
    while killers - failing:
        tests = recording.ordered(list(killers - failing))
        said = server.run(recording.timed(tests))
        if said["outcome"] == "survived":
            break
        failing.add(said["test"])
        print("not used any more, it fails without a mutant too:", said["test"], flush=True)
    return failing


def check(server: Server, recording: Recording) -> None:
    """Stop at once where tests fail because of how they are run here."""
    tests = recording.within(recording.ordered(list(recording.seconds)), 1)
    if server.run(recording.timed(tests))["outcome"] != "survived":
        raise SystemExit("tests fail without a mutant:\n" + server.output())


def report(drawn: list[Mutant], results: Results) -> None:
    """Print the survivors as differences, and a table."""
    known, counts, total = equivalents(), {}, Counter()
    for mutant in drawn:
        said = outcome(mutant, results, known)
        if said == "survived":
            print(f"\n{mutant.module}:{mutant.line}\n- {mutant.before}\n+ {mutant.after}")
        counts.setdefault(folder_of(mutant), Counter())[said] += 1
        total[said] += 1
    print("\n| folder | mutants | killed | too long | equivalent | survived | killed of those not equivalent |")
    print("|---|---|---|---|---|---|---|")
    for folder, found in [*sorted(counts.items()), ("all", total)]:
        columns = [found[name] for name in ("killed", "timeout", "equivalent", "survived")]
        rate = (columns[0] + columns[1]) / max(1, found.total() - columns[2])
        print("|", " | ".join(map(str, [folder, found.total(), *columns, f"{rate:.0%}"])), "|")


def outcome(mutant: Mutant, results: Results, known: set[tuple[str, str, str]]) -> str:
    """Killed, timeout, survived or equivalent: the list is believed, and such mutants are not tried."""
    if (mutant.module, mutant.before, mutant.after) in known:
        return "equivalent"
    return results.of(mutant)["outcome"]


def folder_of(mutant: Mutant) -> str:
    """The part of the library that a mutant is in."""
    return next((folder for folder in FOLDERS if mutant.module.startswith(f"keras_struct/{folder}/")), "elsewhere")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutate the library at random places, and see whether tests notice.")
    parser.add_argument("--mutants", type=int, default=200, help="how many")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws others")
    parser.add_argument("--processes", type=int, default=2, help="side by side")
    parser.add_argument("--limit", type=float, default=180, help="seconds of tests that a mutant has to survive")
    parser.add_argument("--folders", nargs="+", default=FOLDERS, choices=FOLDERS, help="which parts of the library")
    return parser.parse_args()


def main() -> None:
    chosen, recording = arguments(), Recording(KEPT)
    recording.update(chosen.processes)
    drawn, results = sample(chosen.mutants, chosen.seed, chosen.folders), Results(KEPT / f"seed-{chosen.seed}.jsonl")
    with tempfile.TemporaryDirectory() as folder:
        servers = [Server(Path(folder, str(i)), project_files()) for i in range(chosen.processes)]
        check(servers[0], recording)
        failing = {"not tried yet"}
        while failing:
            run(drawn, recording, results, servers, chosen.limit)
            failing = unreliable(drawn, recording, results, servers[0])
            results.forget(failing)
            recording.drop(failing)
        for server in servers:
            server.close()
    report(drawn, results)


if __name__ == "__main__":
    main()
