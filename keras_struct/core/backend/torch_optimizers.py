"""Optimizers of PyTorch, in loops of a user's own: they hold parameters that an edit replaces."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

_replaced: Any = WeakIdKeyDictionary()


def replace_parameters(replaced: Sequence[tuple[Any, Any]]) -> None:
    """Remember which Keras variable holds the successor of each parameter that was replaced."""
    for variable, parameter in replaced:
        _replaced[parameter] = weakref.ref(variable)


def _follow(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    """Give an optimizer, before it makes a step, the parameters that came in the place of those it holds.

    Raises:
        ValueError: If it keeps a state for a parameter that was replaced, which is of the old shape.
    """
    for group in optimizer.param_groups if _replaced else ():
        for place, parameter in enumerate(group["params"]):
            variable = held() if (held := _replaced.get(parameter)) is not None else None
            if variable is None:
                continue
            if optimizer.state.get(parameter):
                raise ValueError(
                    f"{type(optimizer).__name__} of PyTorch keeps a state for '{variable.path}' as it was before the structure "
                    "of the network changed. Make a new optimizer of model.parameters() after an edit, or train with an "
                    "optimizer of keras.optimizers, whose state follows edits."
                )
            group["params"][place] = variable.value


register_optimizer_step_pre_hook(_follow)
