"""Choose connections instead of units."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from keras_struct.core.structure.arrays import Bools, Floats
from keras_struct.core.structure.refusal import MeasurementError
from keras_struct.policies.policy import Policy
from keras_struct.policies.selector import numbers
from keras_struct.sparse.edits import Rewire
from keras_struct.sparse.measurements import ConnectionMeasurement

Scope = Literal["global", "local"]


@dataclass(frozen=True)
class ConnectionSelector(Policy):
    """Says how much each connection of a masked layer is worth, those that are there and those that could be."""

    usual: ClassVar[str] = "WeightMagnitude()"
    used_by: ClassVar[str] = "model.prune_connections"
    needs_gradients: ClassVar[bool] = False

    @abstractmethod
    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the saliency of each connection of a `ConnectionMeasurement`, in the shape of the kernel."""

    def checked_scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the scores, once they are what they must be.

        Raises:
            TypeError: If there is not one real number for each connection.
            MeasurementError: If some are NaN or infinite.
        """
        what = f"each connection of layer '{measured.layer}'"
        scores = numbers(self, self.scores(measured, rng), measured.mask.shape, what)
        if not np.isfinite(scores).all():
            raise MeasurementError(
                f"Cannot rank the connections of layer '{measured.layer}': some saliencies are NaN or infinite. Check weights "
                "and data."
            )
        return scores


@final
@dataclass(frozen=True)
class WeightMagnitude(ConnectionSelector):
    """Connections are worth the magnitude of their weight, |w|.

    References:
        Han, Pool, Tran, Dally, *Learning both Weights and Connections for Efficient Neural Networks*, NeurIPS 2015.
    """

    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the magnitudes."""
        return np.abs(measured.weights.astype(np.float64))


@final
@dataclass(frozen=True)
class GradientMagnitude(ConnectionSelector):
    """Connections are worth the magnitude of the loss's gradient by their weight, |∂L/∂w|, also where they are not there.

    References:
        Evci, Gale, Menick, Castro, Elsen, *Rigging the Lottery: Making All Tickets Winners*, ICML 2020 (growth).
    """

    needs_gradients: ClassVar[bool] = True

    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the magnitudes."""
        return np.abs(measured.gradients())


@final
@dataclass(frozen=True)
class Snip(ConnectionSelector):
    """Connections are worth what removing them would change the loss by, to first order: |w ∂L/∂w|.

    Asked before training, on one batch, this is SNIP. The square is the first-order Taylor criterion of single weights, which
    ranks alike.

    References:
        Lee, Ajanthan, Torr, *SNIP: Single-shot Network Pruning based on Connection Sensitivity*, ICLR 2019.
    """

    needs_gradients: ClassVar[bool] = True

    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the sensitivities."""
        return np.abs(measured.gradients() * measured.weights)


@final
@dataclass(frozen=True)
class OptimalBrainDamage(ConnectionSelector):
    """Connections are worth what removing them would change the loss by, to second order: ½ H w², H the diagonal of the Hessian.

    H is the diagonal of the empirical Fisher information, the mean square of the gradients of single samples, which is that of
    the Hessian where the loss is a negative log-likelihood and the model fits. On at most 64 samples.

    References:
        LeCun, Denker, Solla, *Optimal Brain Damage*, NeurIPS 1989; its second derivatives are propagated back instead.
        Theis, Korshunova, Tejani, Huszár, *Faster Gaze Prediction with Dense Networks and Fisher Pruning*, 2018.
    """

    needs_gradients: ClassVar[bool] = True

    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return the changes."""
        return 0.5 * measured.squared_gradients() * measured.weights.astype(np.float64) ** 2


@final
@dataclass(frozen=True)
class RandomConnections(ConnectionSelector):
    """Any connections: what SET grows, and what others are compared with."""

    def scores(self, measured: ConnectionMeasurement, rng: np.random.Generator) -> Floats:
        """Return random numbers."""
        return rng.random(measured.mask.shape)


def keep_best(
    measurements: Mapping[str, ConnectionMeasurement],
    selector: ConnectionSelector,
    sparsity: float,
    scope: Scope = "global",
    normalize: bool = False,
    rng: np.random.Generator | None = None,
) -> list[Rewire]:
    """Return the edits that leave the best connections of some layers.

    Args:
        measurements: A `ConnectionMeasurement` for each layer.
        selector: Says what connections are worth.
        sparsity: Which share of all possible connections is gone afterwards; a layer that is sparser stays as it is.
        scope: Whether connections of all layers are ranked together (`"global"`), or each layer's by themselves. Each layer
            keeps at least one.
        normalize: Whether saliencies are divided by their Euclidean norm in the layer before they are ranked together.
        rng: For selectors that draw.

    Raises:
        ValueError: If `sparsity` is not from 0 up to 1, `scope` is unknown, or saliencies are not finite.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(
            f"`sparsity`, the share of connections that are gone, must be from 0 up to 1. Received: {sparsity}"
        )
    if scope not in ("global", "local"):
        raise ValueError(f"`scope` must be 'global' or 'local'. Received: scope={scope!r}")
    rng = np.random.default_rng(0) if rng is None else rng
    scores = {
        name: _ranked(m, selector.checked_scores(m, rng), normalize and scope == "global")
        for name, m in measurements.items()
    }
    groups: Sequence[list[str]] = [list(scores)] if scope == "global" else [[name] for name in scores]
    masks: dict[str, Bools] = {}
    for names in groups:
        wanted = round((1 - sparsity) * sum(measurements[name].size for name in names))
        masks.update(_best({name: scores[name] for name in names}, wanted))
    return [Rewire(name, mask) for name, mask in masks.items() if (mask != measurements[name].mask).any()]


def _ranked(measured: ConnectionMeasurement, scores: Floats, normalize: bool) -> Floats:
    """Scores to compare, those of connections that are not there at the bottom and one of each layer at the top."""
    if normalize and (norm := np.linalg.norm(scores[measured.mask])) > 0:
        scores = scores / norm
    scores = np.where(measured.mask, scores, -np.inf)
    scores.flat[np.argmax(scores)] = np.inf
    return scores


def _best(scores: Mapping[str, Floats], wanted: int) -> dict[str, Bools]:
    flat = np.concatenate([part.ravel() for part in scores.values()])
    there = int((flat > -np.inf).sum())
    count = min(there, max(wanted, len(scores)))
    kept = np.zeros(flat.size, bool)
    kept[np.argsort(-flat, kind="stable")[:count]] = True
    ends = np.cumsum([part.size for part in scores.values()])[:-1]
    pieces = zip(scores.items(), np.split(kept, ends), strict=True)
    return {name: piece.reshape(part.shape) for (name, part), piece in pieces}
