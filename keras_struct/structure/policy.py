"""What every policy object is: frozen hyperparameters that can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Policy:
    """Base of triggers, initializers, selectors, schedules and strategies: frozen hyperparameters, nothing else.

    What a policy must remember between steps is passed in and out as explicit state, made of numbers, strings, lists
    and dictionaries, so that it can be saved with the model. Subclasses are frozen dataclasses and are known by their
    class name as soon as they are defined, so that a saved model finds them.
    """

    known: ClassVar[dict[str, type[Policy]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Policy.known[cls.__name__] = cls

    def get_config(self) -> dict[str, Any]:
        """Return the hyperparameters, with policies among them as `{"class_name": ..., "config": ...}`."""
        return {f.name: _packed(getattr(self, f.name)) for f in fields(self) if f.init}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a policy from what `get_config` returned."""
        return cls(**{name: _unpacked(value) for name, value in config.items()})


def pack(policy: Policy) -> dict[str, Any]:
    """Return a policy as a dictionary that JSON can hold."""
    return {"class_name": type(policy).__name__, "config": policy.get_config()}


def unpack(data: dict[str, Any]) -> Policy:
    """Return the policy that `pack` packed.

    Raises:
        ValueError: If its class is not defined in this process.
    """
    name = data["class_name"]
    if name not in Policy.known:
        raise ValueError(
            f"The saved model uses a policy of class '{name}', which is not defined here. Import or define the class "
            "(a subclass of keras_struct.structure.Policy) before you load the model."
        )
    return Policy.known[name].from_config(data["config"])


def check_state(policy: Any, state: Any, where: str = "") -> None:
    """Raise unless a policy's state can be saved with the model, and comes back as it was.

    Args:
        policy: The policy that returned it.
        state: What it remembers.
        where: What it remembers that of, for the message.

    Raises:
        TypeError: If there is anything in it but numbers, strings, booleans, `None`, lists, and dictionaries by strings.
    """
    for wrong in _not_saveable(state):
        hint = " `.tolist()` makes lists and numbers of arrays." if hasattr(wrong, "tolist") else ""
        raise TypeError(
            f"The state that {type(policy).__name__} returned {where} holds {wrong!r} ({type(wrong).__name__}), which cannot be "
            "saved with the model. Expected numbers, strings, booleans, None, lists, and dictionaries whose keys are strings."
            f"{hint}"
        )


def _not_saveable(state: Any) -> Iterator[Any]:
    """What in a state JSON cannot hold."""
    if isinstance(state, dict):
        yield from (key for key in state if not isinstance(key, str))
        state = list(state.values())
    if isinstance(state, list | tuple):
        for item in state:
            yield from _not_saveable(item)
    elif state is not None and not isinstance(state, str | int | float):
        yield state


def _packed(value: Any) -> Any:
    if isinstance(value, Policy):
        return pack(value)
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"class_name", "config"}:
        return unpack(value)
    if isinstance(value, list):
        return tuple(_unpacked(item) for item in value)
    return value
