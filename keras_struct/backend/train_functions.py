"""What train functions of all backends share: batches that are seen on their way in, and executions that are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def observed(model: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """Batches, each of which the model remembers."""
    for data in batches:
        model._structural.remember(data)
        yield data


def with_batches(model: Any, seen: Callable[[Any], Any]) -> Callable:
    """Return Keras's train function, which is given its batches through `seen`.

    Args:
        model: The model.
        seen: Takes the batches, the last argument of a train function, and returns what is passed instead.
    """
    type(model).make_plain_train_function(model)
    run = model.train_function

    def train_function(*arguments: Any) -> Any:
        return run(*arguments[:-1], seen(arguments[-1]))

    return train_function


def skipping(model: Any, run: Callable, skip: Callable) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch.

    Args:
        model: The model.
        run: Its train function.
        skip: Takes the same arguments, and returns what `run` would, without training.
    """

    def train_function(*arguments: Any) -> Any:
        found = model._structural
        found.skipped = found.skip > 0
        if not found.skipped:
            return run(*arguments)
        found.skip -= 1
        return skip(*arguments)

    return train_function


def pass_over(model: Any, iterator: Iterator[Any]) -> None:
    """Take the batches of one execution, and forget them."""
    for _ in range(model.steps_per_execution):
        next(iterator)
