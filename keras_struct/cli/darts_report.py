"""What `keras-struct darts` writes: drawings and a page."""

from __future__ import annotations

from html import escape
from typing import Any

from keras_struct.cli.report import image, report
from keras_struct.nas.genotypes import RecurrentGenotype
from keras_struct.visualization import cell_dot, plot_collapse, plot_genotype, plot_operations, plot_schedule, png


def search_files(facts: dict[str, Any], record: Any, genotype: Any) -> dict[str, str | bytes]:
    """Return the files of a search by name.

    Args:
        facts: What is written to `search.json`; `data`, `result`, `settings`, `command` and `versions` are on the page.
        record: The `SearchRecord`.
        genotype: What was found.
    """
    cells = ("recurrent",) if isinstance(genotype, RecurrentGenotype) else ("normal", "reduce")
    figures = {"genotype.png": plot_genotype(genotype)}
    figures |= {f"{cell}_weights.png": plot_operations(record, f"alpha_{cell}") for cell in cells}
    if len(cells) > 1:
        figures["collapse.png"] = plot_collapse(record)
    if record.schedule.get("F"):
        figures["schedule.png"] = plot_schedule(record)
    pictures = {name: png(figure) for name, figure in figures.items()}
    return {
        "genotype.txt": f"{genotype}\n",
        **{f"{cell}.dot": cell_dot(genotype, cell) for cell in cells},
        **pictures,
        "report.html": _report(facts, pictures),
    }


_TEXTS = {
    "genotype.png": ("The cells", "Cells of the network that was found"),
    "normal_weights.png": (
        "Weights of the operations: normal cell",
        "Weights by epoch, for each edge of the normal cell",
    ),
    "reduce_weights.png": ("Reduction cell", "Weights by epoch, for each edge of the reduction cell"),
    "recurrent_weights.png": ("Weights of the activations", "Weights by epoch, for each edge of the cell"),
    "schedule.png": ("When the architecture moved", "Trace of the Fisher information and threshold by step"),
    "collapse.png": ("Signs of a collapse", "Chosen skip connections and entropy by epoch"),
}


def _report(facts: dict[str, Any], pictures: dict[str, bytes]) -> str:
    body = [f"<p><code>{escape(facts['genotype'])}</code></p>"]
    for name, (head, text) in _TEXTS.items():
        if name in pictures:
            body += [f"<h2>{head}</h2>", image(pictures[name], text)]
    return report(f"A cell for {facts['data']}", escape(facts["result"]), body, facts)
