"""What train functions of all backends share: batches that are seen on their way in, and executions that are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def observed(remember: Callable[[Any], None], batches: Iterable[Any]) -> Iterator[Any]:
    """Batches, each of which is passed to `remember` on its way."""
    for data in batches:
        remember(data)
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


def skipping(run: Callable, leaves_out: Callable[[], bool], skip: Callable) -> Callable:
    """Return a train function that leaves out as many executions as a resumed run has behind it in its epoch.

    Args:
        run: The train function of a model.
        leaves_out: Whether the next execution is to be left out.
        skip: Takes the same arguments, and returns what `run` would, without training.
    """

    def train_function(*arguments: Any) -> Any:
        return skip(*arguments) if leaves_out() else run(*arguments)

    return train_function


def pass_over(model: Any, iterator: Iterator[Any]) -> None:
    """Take the batches of one execution, and forget them."""
    for _ in range(model.steps_per_execution):
        next(iterator)
