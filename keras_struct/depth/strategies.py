"""Strategies on blocks from the literature."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypedDict

from keras_struct.core.structure.edits import Edit
from keras_struct.depth.block import CopyInit, rows_of
from keras_struct.depth.copies import append_copies, remove, stack
from keras_struct.depth.measurements import BlockMeasurement
from keras_struct.depth.strategy import BlockStrategy, longest_row, taken_names
from keras_struct.policies.policy import Policy, State
from keras_struct.policies.schedules import AtSteps, EveryNSteps, Schedule


@dataclass(frozen=True)
class Stack(BlockStrategy[State]):
    """Train a shallow network, then repeat its blocks behind each other: 1 2 3 becomes 1 2 3 1 2 3.

    The optimizer's state of a block is copied with it. The function changes at that step; the loss has recovered soon.

    Args:
        schedule: When; at each step that is due the number of blocks is multiplied.
        factor: By how much.
        weights: `"copy"`, as the papers have it; `"identity"` lets copies of residual blocks return what enters them at first.

    References:
        Gong et al., *Efficient training of BERT by progressively stacking*, ICML 2019, Algorithm 2 (factor 2; the authors reset
        the optimizer, which is not done here).
        Du et al., *Stacking your transformers*, NeurIPS 2024, G_stack (once, factor 4).
    """

    schedule: Schedule = field(default_factory=lambda: AtSteps((1000,)))
    factor: int = 2
    weights: CopyInit = "copy"

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edit that stacks the longest row of blocks."""
        return [stack(longest_row(blocks), self.factor, None, self.weights, taken_names(blocks))]


@dataclass(frozen=True)
class MiddleGrow(BlockStrategy[State]):
    """Copy the blocks in the exact middle of the network, and put the copies behind them.

    Args:
        schedule: When.
        count: How many blocks are copied each time; as many as there are, if there are fewer.
        weights: As of `Stack`.

    References:
        Saunshi et al., *On the inductive bias of stacking towards improving reasoning*, NeurIPS 2024, MIDAS.
        LIDAS (2512.08819), which takes the middle of the layers.
    """

    schedule: Schedule = field(default_factory=lambda: AtSteps((1000,)))
    count: int = 1
    weights: CopyInit = "copy"

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edit that copies the blocks in the middle."""
        row = longest_row(blocks)
        count = min(self.count, len(row))
        start = (len(row) - count + 1) // 2
        return [append_copies(row[start : start + count], None, self.weights, taken_names(blocks), "grow the middle")]


@dataclass(frozen=True)
class ExpandOnce(BlockStrategy[State]):
    """Train with one block, or few, for most of the steps, and expand to the full depth once.

    Args:
        at: Share of the gradient steps after which; the paper has about 80 %, with a rate that is constant until then
            (`WarmupStableDecay`). Without `steps`, the number of the step.
        steps: How many gradient steps the training has.
        blocks: How many blocks there are afterwards.
        weights: `"copy"`, `"fresh"` as the initializers say, or `"identity"`.

    References:
        Bu, *Deep progressive training: scaling up depth capacity of zero/one-layer models*, 2025 (2511.04981).
    """

    at: float = 1000
    steps: int | None = None
    blocks: int = 6
    weights: CopyInit = "copy"

    def __post_init__(self) -> None:
        if self.steps is None and not (isinstance(self.at, int) and self.at > 0):
            raise ValueError(
                f"`at` is a gradient step, or a share of `steps`, those of the training: ExpandOnce(at=0.8, steps=1500). "
                f"Received: at={self.at!r}, steps={self.steps!r}"
            )

    @property
    def schedule(self) -> Schedule:
        """After which gradient step."""
        return AtSteps((round(self.at * self.steps) if self.steps is not None else int(self.at),))

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edit that expands the row of blocks."""
        row = longest_row(blocks)
        more = [row[i % len(row)] for i in range(self.blocks - len(row))]
        title = f"expand to {self.blocks} blocks"
        return [append_copies(more, row[-1], self.weights, taken_names(blocks), title)] if more else []


@dataclass(frozen=True)
class BlockCriterion(Policy):
    """Says how much a block matters: the one of the smallest value goes first."""

    usual: ClassVar[str] = "BlockInfluence()"
    needs_inputs: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, measured: BlockMeasurement) -> float:
        """Return how much a block matters."""


@dataclass(frozen=True)
class BlockInfluence(BlockCriterion):
    """How much a block turns what enters it: `1 - E cos(x, y)`.

    References:
        Men et al., *ShortGPT: layers in large language models are more redundant than you expect*, 2024, equation 1.
    """

    def __call__(self, measured: BlockMeasurement) -> float:
        """Return it."""
        return measured.influence()


@dataclass(frozen=True)
class DropBlocks(BlockStrategy[State]):
    """Leave out the blocks that matter least.

    Args:
        criterion: Says how much a block matters.
        count: How many go each time.
        schedule: When.
        minimum: How many blocks stay at least.
        samples: How many inputs are kept to measure on.

    References:
        Men et al., *ShortGPT*, 2024, section 3.2.
    """

    schedule: Schedule = field(default_factory=lambda: AtSteps((1000,)))
    criterion: BlockCriterion = field(default_factory=BlockInfluence)
    count: int = 1
    minimum: int = 1
    samples: int = 64

    grows: ClassVar[bool] = False

    @property
    def needs_inputs(self) -> bool:
        """Whether the criterion looks at activations."""
        return self.criterion.needs_inputs

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edits that leave them out, the last of the network first."""
        count = min(self.count, len(blocks) - self.minimum)
        values = {name: self.criterion(measured) for name, measured in blocks.items()}
        least = sorted(blocks, key=lambda name: values[name])[: max(count, 0)]
        return [remove(blocks[name].block) for name in sorted(least, key=lambda name: -blocks[name].block.depth)]


@dataclass(frozen=True)
class InsertWhenSaturated(BlockStrategy[State]):
    """Copy a block when all units behind the blocks are used: their effective dimension is full.

    Args:
        schedule: When to look.
        share: Which share of the units must be independent behind every block.
        epsilon: Threshold of the singular values that count.
        blocks: How many blocks there are at most.
        weights: As `init` of `duplicate`: by default the function is kept.
        samples: How many inputs are kept to measure on: more than units.

    References:
        Maile, *Structural learning in artificial neural networks*, thesis, 2023, section 6.4 (addition of layers).
    """

    schedule: Schedule = field(default_factory=lambda: EveryNSteps(100))
    share: float = 0.95
    epsilon: float = 0.01
    blocks: int = 12
    weights: CopyInit = "identity"
    samples: int = 512

    needs_inputs: ClassVar[bool] = True

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return the edit that copies the last block, if all are saturated."""
        row = longest_row(blocks)
        full = all(blocks[block.name].effective_dimension(self.epsilon) >= self.share for block in row)
        if not full or len(row) >= self.blocks:
            return []
        return [append_copies(row[-1:], None, self.weights, taken_names(blocks), "insert, as all units are used")]


class AutoGrowState(TypedDict):
    """What `AutoGrow` remembers.

    Attributes:
        turn: How many blocks it has added.
        finished: Kinds of blocks of which no more are added.
        loss: Running mean of the loss.
        grown: Kind of the block that was added last, until that is judged.
    """

    turn: int
    finished: list[str]
    loss: float | None
    grown: str | None


@dataclass(frozen=True)
class AutoGrow(BlockStrategy[AutoGrowState]):
    """Add a block to one row of blocks after the other while that improves the loss; a row that it does not improve is finished.

    Args:
        schedule: When to look: often, for blocks are best added before training has converged.
        threshold: By which share the loss must have improved since the last block of a row was added.
        momentum: Of the running mean of the loss.
        blocks: How many blocks a row has at most.
        weights: `"fresh"`: a new block as its initializers say is better than an identity, by the paper.

    References:
        Wen et al., *AutoGrow: automatic layer growing in deep convolutional networks*, KDD 2020, Algorithm 1. Differs: the paper
        looks at the accuracy on the training data after each epoch, this at the loss of the steps before it looks.
    """

    schedule: Schedule = field(default_factory=lambda: EveryNSteps(100))
    threshold: float = 0.01
    momentum: float = 0.5
    blocks: int = 12
    weights: CopyInit = "fresh"

    def init(self, measurements: Mapping[str, BlockMeasurement]) -> AutoGrowState:
        """State to start from."""
        return {"turn": 0, "finished": [], "loss": None, "grown": None}

    def edits(self, blocks: Mapping[str, BlockMeasurement], step: int) -> Sequence[Edit]:
        """Return nothing: `propose` remembers what happened."""
        return []

    def propose(
        self, step: int, measurements: Mapping[str, BlockMeasurement], state: AutoGrowState, since: int | None = None
    ) -> tuple[list[Edit], AutoGrowState]:
        """Return the edit that adds a block to the row whose turn it is, and what is remembered."""
        now = next(iter(measurements.values())).loss
        before, grown, finished = state["loss"], state["grown"], list(state["finished"])
        if now is None:
            return [], state
        loss = now if before is None else self.momentum * before + (1 - self.momentum) * now
        if grown is not None and before is not None and loss > before * (1 - self.threshold):
            finished.append(grown)
        rows = rows_of(measured.block for measured in measurements.values())
        rows = [row for row in rows if row[0].kind not in finished and len(row) < self.blocks]
        if not rows:
            return [], {**state, "finished": finished, "loss": loss, "grown": None}
        row = rows[state["turn"] % len(rows)]
        graft = append_copies(row[-1:], None, self.weights, taken_names(measurements), "add a block")
        return [graft], {"turn": state["turn"] + 1, "finished": finished, "loss": loss, "grown": row[0].kind}
