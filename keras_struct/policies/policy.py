"""What every policy object is: frozen hyperparameters that can be saved."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

from keras_struct import registration

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""What JSON can hold."""
State: TypeAlias = Mapping[str, JSON]
"""What a policy remembers between steps. Policies that say more precisely what theirs holds have a `TypedDict`."""


@dataclass(frozen=True)
class Policy:
    """Base of triggers, initializers, selectors, schedules and strategies: frozen hyperparameters, nothing else.

    What a policy must remember between steps is passed in and out as explicit state, made of numbers, strings, lists
    and dictionaries, so that it can be saved with the model. Subclasses are frozen dataclasses.

    A class is registered when it is defined, as `package>Name`, so that a saved model finds it; those of this library as
    `keras_struct>Name`. The package is the first part of the name of the module that defines the class (of a script the
    name of its file, in a notebook `__main__`), unless the class says another one, which then stays the same wherever it
    is moved to:

        @dataclass(frozen=True)
        class Patience(Trigger, package="my_methods"):
            ...

    Defining a class again, in the same place of the same module, replaces it, as in a notebook. A class that was renamed or
    moved names what it was registered as before, so that models that were saved then load:

        @dataclass(frozen=True)
        class Patience(Trigger, aliases=("my_methods>Waiting",)):
            ...

    Hyperparameters that are annotated as numbers, booleans, strings, dictionaries or policies are checked to be such when a
    policy is made.

    Attributes:
        registered_name: Under which name a saved model finds the class.
        usual: One of its kind, to name in messages.
        used_by: What takes one of its kind, to name in messages.
        removed_fields: Hyperparameters that it no longer has; where a saved model names them, they are ignored.

    Raises:
        ValueError: When a class is defined whose registered name belongs to another class.
        TypeError: When a policy is made with a hyperparameter of another kind than its annotation says.
    """

    registered_name: ClassVar[str] = ""
    usual: ClassVar[str] = ""
    used_by: ClassVar[str] = ""
    removed_fields: ClassVar[tuple[str, ...]] = ()
    known: ClassVar[dict[str, type[Policy]]] = {}

    def __init_subclass__(cls, package: str | None = None, aliases: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = f"{_package(cls) if package is None else package}>{cls.__name__}"
        names = (name, *((aliases,) if isinstance(aliases, str) else aliases))
        _check_names(cls, names)
        cls.registered_name = name
        Policy.known.update(dict.fromkeys(names, cls))
        if (own := cls.__dict__.get("__post_init__")) is not None:
            cls.__post_init__ = _behind_the_check(own)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check the hyperparameters; what subclasses do here comes behind that by itself."""
        _check_fields(self)

    def get_config(self) -> dict[str, Any]:
        """Return the hyperparameters, with policies among them as `{"registered_name": ..., "module": ..., "config": ...}`."""
        return {f.name: _packed(getattr(self, f.name)) for f in fields(self) if f.init}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return a policy from what `get_config` returned."""
        ignored = {*cls.removed_fields} - {f.name for f in fields(cls)}
        return cls(**{name: _unpacked(value) for name, value in config.items() if name not in ignored})


def pack(policy: Policy) -> dict[str, Any]:
    """Return a policy as a dictionary that JSON can hold."""
    kind = type(policy)
    return {"registered_name": kind.registered_name, "module": _module(kind), "config": policy.get_config()}


def unpack(data: dict[str, Any]) -> Policy:
    """Return the policy that `pack` packed.

    Raises:
        ValueError: If its class is not defined in this process.
    """
    name = data["registered_name"]
    if name not in Policy.known and name.startswith(f"{registration.PACKAGE}>"):
        registration.import_policies()
    if name not in Policy.known:
        raise ValueError(_unknown(name, data.get("module", "")))
    return Policy.known[name].from_config(data["config"])


def _check_names(cls: type[Policy], names: tuple[str, ...]) -> None:
    """Raise if a name under which a class is to be registered belongs to another one, or an alias has no package."""
    if wrong := [name for name in names if ">" not in name]:
        raise ValueError(
            f"`aliases` of {_where(cls)} must be registered names, 'package>Name'. Received: {wrong}. Models that were saved "
            f"before it was renamed from {wrong[0]} name '{names[0].partition('>')[0]}>{wrong[0]}'."
        )
    for name in names:
        other = Policy.known.get(name)
        if other is not None and _place(other) != _place(cls):
            raise ValueError(
                f"A saved model would not know which class '{name}' is: it is the registered name of {_where(other)} already. "
                f"Rename {_where(cls)}, or give it a package of its own: class {cls.__name__}(..., package='my_package')."
            )


def check_state(policy: Policy, state: object, where: str = "") -> None:
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


def _not_saveable(state: object) -> Iterator[object]:
    """What in a state JSON cannot hold."""
    if isinstance(state, dict):
        yield from (key for key in state if not isinstance(key, str))
        state = list(state.values())
    if isinstance(state, list | tuple):
        for item in state:
            yield from _not_saveable(item)
    elif state is not None and not isinstance(state, str | int | float):
        yield state


_CHECKED: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a string"),
    Mapping: (Mapping, "a dictionary"),
    NoneType: (NoneType, "None"),
}
"""What stands for an annotation when it is checked, and its name in a message."""


def _behind_the_check(own: Any) -> Any:
    @wraps(own)
    def __post_init__(self: Any) -> None:
        _check_fields(self)
        own(self)

    return __post_init__


def _check_fields(policy: Policy) -> None:
    kind: Any = type(policy)
    for name, (kinds, wanted) in _checked_fields(kind).items():
        value = getattr(policy, name, None)
        if not isinstance(value, kinds):
            known = value if isinstance(value, type) and issubclass(value, Policy) else None
            hint = "" if known is None else f" Make one of the class: {known.__name__}()."
            raise TypeError(
                f"`{name}` of {kind.__name__} must be {wanted}. Received: {name}={value!r} "
                f"({type(value).__name__}).{hint}"
            )


@cache
def _checked_fields(kind: type) -> dict[str, tuple[tuple[type, ...], str]]:
    """What each hyperparameter may be, and how to say that, for those with annotations that can be checked."""
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError):  # annotations that are there for a type checker only
        return {}
    found = {}
    for field in fields(kind):
        hint = hints[field.name]
        parts = [_checked(part) for part in (get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,))]
        if field.init and None not in parts:
            classes, names = zip(*filter(None, parts), strict=True)
            found[field.name] = (classes, " or ".join([", ".join(names[:-1]), names[-1]] if names[:-1] else names))
    return found


def _checked(hint: Any) -> tuple[type, str] | None:
    hint = get_origin(hint) or hint
    if isinstance(hint, type) and issubclass(hint, Policy):
        article = "an" if hint.__name__[0] in "AEIOU" else "a"
        return hint, f"{article} {hint.__name__}{', such as ' + hint.usual if hint.usual else ''}"
    return _CHECKED.get(hint)


def _unknown(name: str, module: str) -> str:
    package, _, bare = name.rpartition(">")
    if package == registration.PACKAGE:
        way = "This version of keras_struct has none of that name: load the model with the version that saved it"
    elif package == "__main__":
        way = (
            "It was defined in a notebook or an interactive session. Define it here in the same way, or, in a module, as "
            f"class {bare}(..., package='__main__'), before you load the model"
        )
    else:
        way = f"Import the module that defines it, import {module or package}, before you load the model"
    alike = sorted(other for other in Policy.known if other.rpartition(">")[2] == bare)
    others = f" (There is {', '.join(alike)}, which is another class.)" if alike else ""
    return (
        f"The saved model uses the policy '{bare}' of '{package}', which is not defined here.{others} {way}; or load the "
        "weights alone, without its strategy: keras.models.load_model(path, compile=False)."
    )


def _module(kind: type) -> str:
    """Name of a class's module as other programs would import it: scripts under the name of their file."""
    if kind.__module__ not in ("__main__", "__mp_main__"):
        return kind.__module__
    main = sys.modules.get(kind.__module__)
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return spec.name.removesuffix(".__main__")
    return Path(file).stem if file else "__main__"


def _package(kind: type) -> str:
    return _module(kind).partition(".")[0]


def _place(kind: type) -> tuple[str, str]:
    return _module(kind), kind.__qualname__


def _where(kind: type) -> str:
    return f"{_module(kind)}.{kind.__qualname__}"


def _packed(value: Any) -> Any:
    if isinstance(value, Policy):
        return pack(value)
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"registered_name", "module", "config"}:
        return unpack(value)
    if isinstance(value, list):
        return tuple(_unpacked(item) for item in value)
    return value
