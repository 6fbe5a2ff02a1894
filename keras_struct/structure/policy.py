"""What every policy object is: frozen hyperparameters that can be saved."""

from __future__ import annotations

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
