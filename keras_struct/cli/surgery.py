"""`keras-struct inspect` and `keras-struct prune`: look at a saved model, and make it smaller."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_struct import selectors
from keras_struct.cli.inputs import import_modules, load_data, load_model
from keras_struct.models import Budget, StructuralModel
from keras_struct.statistics import flops, flops_per_layer, parameters_per_layer
from keras_struct.visualization import plot_structure, png

SHORT_NAMES = {"RandomUnits": "random", "OptimalBrainSurgeon": "surgeon"}
PROBE = 512
"""How many samples a criterion looks at."""


def inspect_command(options: Any) -> None:
    """Print axes, fixed parts and costs of a saved model, and draw them.

    Args:
        options: What the parser read.

    Raises:
        ValueError: If the file holds no model that can be read as a graph of layers.
        OSError: If the picture cannot be written.
    """
    model = _loaded(options.model, options.imports)
    print("\n".join(_axes(model)))
    print("\n".join(["", *_costs(model)]))
    if options.picture:
        Path(options.picture).write_bytes(png(plot_structure(model)))
        print(f"\nWritten to {options.picture}")


def prune_command(options: Any) -> None:
    """Prune a saved model to a budget, train it further if asked to, and save it.

    Args:
        options: What the parser read.

    Raises:
        ValueError: If the budget cannot be met, or the criterion lacks data.
        OSError: If the pruned model cannot be written.
    """
    if options.flops is options.parameters is options.latency is None:
        raise ValueError("how small the model is to become is missing: pass --flops X, --parameters X or --latency X")
    model = _loaded(options.model, options.imports)
    budget = Budget(options.flops, options.parameters, options.latency)
    selector = _selector(options.criterion)
    target = Path(options.out or f"{Path(options.model).stem}_pruned.keras")
    if target.suffix != ".keras" or not target.parent.is_dir():
        raise ValueError(f"--out must name a file NAME.keras in a folder that exists; received {str(target)!r}")
    data = load_data(options) if options.data else None
    _compile(model, data)
    if data is None and (selector.needs_inputs or selector.needs_gradients or options.epochs):
        raise ValueError(f"--criterion {options.criterion} and --epochs need data: pass --data NAME or --data FILE.npz")
    before = _facts(model, data)
    events = model.prune(
        budget=budget, selector=selector, scope=options.scope, minimum=options.minimum, multiple=options.multiple
    )
    after = _facts(model, data)
    if options.epochs and data is not None:
        model.fit(data.x_train, data.y_train, epochs=options.epochs, batch_size=64, verbose=0 if options.quiet else 1)
    tuned = _facts(model, data) if options.epochs else {}
    lines = [f"| | before | pruned |{' trained |' if tuned else ''}", f"|---|---|---|{'---|' if tuned else ''}"]
    for name in before:
        lines.append(f"| {name} | {before[name]} | {after[name]} |" + (f" {tuned[name]} |" if tuned else ""))
    print("\n".join(lines))
    (model.to_plain() if options.plain else model).save(target)
    print(f"\n{len(events)} of {len(model.structure.axes)} axes pruned. Written to {target}")


def criteria() -> dict[str, type[selectors.Selector]]:
    """Every selector of units of the library, by its name as one writes it in a shell."""
    kinds = [getattr(selectors, name) for name in selectors.__all__]
    own = [kind for kind in kinds if issubclass(kind, selectors.Selector) and kind is not selectors.Selector]
    return {
        SHORT_NAMES.get(kind.__name__) or re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(): kind for kind in own
    }


def _selector(name: str) -> selectors.Selector:
    if (kind := criteria().get(name)) is None:
        raise ValueError(f"--criterion must be one of {', '.join(sorted(criteria()))}. Received: {name!r}")
    return kind()


def _loaded(path: str, imports: Sequence[str]) -> StructuralModel:
    import_modules(imports)
    model = load_model(path)
    return model if isinstance(model, StructuralModel) else StructuralModel.from_model(model)


def _compile(model: StructuralModel, data: Any) -> None:
    """Give the model a loss, if it has none, and the data to measure on."""
    loss = (model.loss if model.compiled else None) or "sparse_categorical_crossentropy"
    probe, targets = (None, None) if data is None else (data.x_train[:PROBE], data.y_train[:PROBE])
    if probe is not None and probe.shape[1:] != tuple(model.input_shape[1:]):
        raise ValueError(f"the data has samples of shape {probe.shape[1:]}, the model takes {model.input_shape[1:]}")
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"], probe=probe, targets=targets)


def _facts(model: StructuralModel, data: Any) -> dict[str, str]:
    facts = {"parameters": f"{model.count_params():,}", "operations": f"{flops(model, unknown='zero'):,}"}
    facts["units"] = f"{sum(model.structure.axes.values()):,}"
    if data is not None:
        found = model.evaluate(data.x_test, data.y_test, batch_size=256, verbose=0, return_dict=True)
        facts |= {f"test {name}": f"{value:.4f}" for name, value in found.items()}
    return facts


def _axes(model: StructuralModel) -> list[str]:
    graph = model.structure
    lines = ["| axis | units | made by | read by | remark |", "|---|---|---|---|---|"]
    for name, width in graph.axes.items():
        roles = graph.ports(name)
        makers = {port.layer for port, rule in roles.items() if rule.role == "produce"}
        readers = {port.layer for port, rule in roles.items() if rule.role == "consume"}
        lines.append(f"| {name} | {width} | {len(makers)} | {len(readers)} | {graph.units[name].mixes or ''} |")
    lines += ["", "Fixed:", *(f"- {name}: {reason}" for name, reason in graph.locked.items())]
    return lines


def _costs(model: StructuralModel) -> list[str]:
    counts, weights = flops_per_layer(model, unknown="zero"), parameters_per_layer(model)
    lines = ["| layer | parameters | operations |", "|---|---|---|"]
    for name in dict.fromkeys([*counts, *weights]):
        if counts.get(name) or weights.get(name):
            lines.append(f"| {name} | {weights.get(name, 0):,} | {counts.get(name, 0):,} |")
    lines.append(f"| all | {model.count_params():,} | {sum(counts.values()):,} |")
    return lines
