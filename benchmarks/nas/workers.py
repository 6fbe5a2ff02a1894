"""One and two workers on the same independent searches: what KerasTuner's distributed mode gains on one machine.

    python benchmarks/nas/workers.py
    python benchmarks/nas/workers.py --trials 4 --epochs 40

Each process has one thread. A trial is a DARTS-PRIME search for a cell on the digits, and the training of its network. Time
counts from the beginning of the first trial to the end of the last, in whichever process, so that starting processes and
importing TensorFlow are left out; building and tracing the supernets are not. The table goes to
`benchmarks/results/nas_workers.md`.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "neurogenesis"))

RESULTS = Path(__file__).parent.parent / "results"


def work(folder, trials, epochs):
    """What chief and workers run: the search, with a line in `times.jsonl` for each trial."""
    import keras

    from keras_struct import datasets, tuners

    keras.utils.disable_interactive_logging()
    data = datasets.load("digits")
    x, y = data.x_train[..., None], data.y_train

    class Timed(tuners.DartsPrimeTuner):
        def run_trial(self, trial, *args, **kwargs):
            start = time.time()
            results = super().run_trial(trial, *args, **kwargs)
            with open(Path(folder) / "times.jsonl", "a") as file:
                file.write(json.dumps([os.environ["KERASTUNER_TUNER_ID"], start, time.time()]) + "\n")
            return results

    space = tuners.DartsHyperModel((8, 8, 1), 10, init_channels=4, layers=3, train_epochs=5)
    Timed(space, max_trials=trials, directory=folder, project_name="cells").search(
        x, y, epochs=epochs, batch_size=64, verbose=0
    )


def measured(folder, workers, options):
    """Seconds from the first beginning to the last end, and the seconds of each trial."""
    from keras_struct.tuners import launch_local

    place = Path(folder) / f"{workers}-{os.getpid()}"
    place.mkdir(parents=True)
    launch_local(
        __file__, workers, ["--work", str(place), "--trials", str(options.trials), "--epochs", str(options.epochs)]
    )
    rows = [json.loads(line) for line in (place / "times.jsonl").read_text().splitlines()]
    assert len(rows) == options.trials, rows
    return max(end for _, _, end in rows) - min(start for _, start, _ in rows), [end - start for _, start, end in rows]


def main():
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--folder", default="runs/workers")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.trials, options.epochs)
        return
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")
    from trials import circumstances

    found = {workers: measured(options.folder, workers, options) for workers in (1, 2)}
    lines = [
        "# One and two workers",
        "",
        f"{circumstances()} One thread a process; {options.trials} DARTS-PRIME searches for a cell on the digits (C = 4, L = 3, "
        f"{options.epochs} epochs), each with the training of its network.",
        "",
        f"Command: `python {' '.join(sys.argv)}`",
        "",
        "| workers | seconds | seconds of a trial | ratio |",
        "|---|---|---|---|",
    ]
    for workers, (total, each) in found.items():
        lines.append(f"| {workers} | {total:.0f} | {min(each):.0f} to {max(each):.0f} | {total / found[1][0]:.2f} |")
    (RESULTS / "nas_workers.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
