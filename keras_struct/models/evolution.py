"""The structural side of a model: its graph, its edits, its strategy and what it remembers."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import ceil, nan
from typing import Any

import keras
import numpy as np

from keras_struct.backend import current, holders, keras_internals
from keras_struct.backend.optimizer_slots import Slot, rebuild, slots_of, without_frozen
from keras_struct.models.elasticity import make_elastic
from keras_struct.models.holders import OtherHolders
from keras_struct.models.observation import Observation
from keras_struct.models.strategy_run import StrategyRun
from keras_struct.structure.edits import Resize
from keras_struct.structure.events import StructureEvent, StructureLog
from keras_struct.structure.graph import StructureGraph
from keras_struct.structure.reconfiguring import Reconfigure
from keras_struct.structure.rewiring import Rewire
from keras_struct.surgery.catching_up import catch_up, fits
from keras_struct.surgery.commit import commit
from keras_struct.surgery.plan import NewSlots, Plan, plan
from keras_struct.surgery.rewiring import masked_layers
from keras_struct.surgery.surroundings import connections, with_surroundings
from keras_struct.surgery.trace import Network, trace

CHANGE_SAMPLES = 32
_all: weakref.WeakSet[Evolution] = weakref.WeakSet()


class Evolution(StrategyRun):
    """Carries out structural edits on one Keras model, and runs its strategy.

    It belongs to a `StructuralModel`, or to the callback `StructuralTraining` for a plain Keras model.

    Args:
        model: A built Functional or Sequential model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._read(trace(model))
        _all.add(self)
        self.initial_widths = dict(self.network.graph.axes)
        self.log = StructureLog()
        self.slots: Sequence[Slot] = ()
        self.new_slots: NewSlots = "initial"
        super().__init__()
        self.observation = Observation(model, self._network)
        self.retraces = 0
        self.follows_outer = False
        self.epoch = 0
        self.skip = 0
        self.skipped = False
        self.listeners: Sequence[Any] = ()
        self.parameters = model.count_params()
        self._slots_for: Any = None
        self._silent = False
        self._static: bool | None = None
        self._total_connections: int | None = None

    def _read(self, network: Network) -> None:
        self._network, self._outdated, self._reconfigured = network, False, False
        self.holders, self._whole, self._connections = OtherHolders(self.model, network), network, -1
        self._weights_counted = frozenset(map(id, self.model.weights))
        current().watch(network.variables())

    @property
    def network(self) -> Network:
        """The model as a graph of units; read again if another structural model has edited layers that it shares.

        Raises:
            ValueError: If the model's own layers do not fit together any more.
        """
        if self._outdated:
            self._catch_up()
        return self._network

    @property
    def graph(self) -> StructureGraph:
        """The structure as it is."""
        return self.network.graph

    def follow_layers(self) -> None:
        """Read layers anew that the user changed since they were read: LoRA weights, quantisation, another activation."""
        if self.network.follow_layers():
            self.observation.forget_compiled()
            self._connections = -1

    @property
    def connections(self) -> dict[str, int]:
        """How many connections each masked layer has."""
        self.sync()
        return {name: int(current().read(held.mask).sum()) for name, held in masked_layers(self.network).items()}

    @property
    def total_connections(self) -> int:
        """How many connections there are in all masked layers, counted anew after an edit."""
        if self._total_connections is None:
            self._total_connections = sum(self.connections.values())
        return self._total_connections

    # Preparation

    def follow_optimizer(self) -> None:
        """Find the slots of the model's optimizer, and make variables elastic where the backend can."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            rebuild(optimizer, self.model.trainable_variables)
            current().prepare_optimizer(optimizer)
            if self._slots_for is not optimizer:
                self.slots, self._slots_for = slots_of(optimizer), optimizer
        self._static = optimizer is not None and keras_internals.needs_static_shapes(optimizer)
        self._loosen()

    def _loosen(self) -> None:
        """Leave open the widths that edits change, where no layer in the model or around it needs to know them."""
        if current().ELASTIC and (replaced := make_elastic(self._edited_network(()), self.slots, bool(self._static))):
            current().retire(replaced, ())
            self._variables_replaced()

    def mind_surroundings(self) -> None:
        """Let layers that were connected to the model since it was compiled know the widths that they need."""
        if self._static is not None and self._connections != connections(self.network):
            self._loosen()

    def renew_optimizer(self) -> None:
        """Let the optimizer forget weights that are no longer trained; its state of the others stays."""
        old = getattr(self.model, "optimizer", None)
        if old is None or (new := without_frozen(old, self.model.trainable_variables)) is old:
            return
        self.model.optimizer = new
        self.follow_optimizer()
        self._variables_replaced()

    def _variables_replaced(self) -> None:
        if getattr(self.model, "optimizer", None) is not None:
            keras_internals.rekey_optimizer(self.model.optimizer)
        keras_internals.forget_compiled_functions(self.model)
        self.observation.forget_compiled()
        self.holders.variables_replaced()

    # Edits

    def limits(self) -> dict[str, int]:
        """Largest width of each axis, from the layers that produce it."""
        found: dict[str, int] = {}
        for name, axis in self.graph.units.items():
            for layer, _ in axis.producers:
                held = self.network.layers.get(layer)
                limit = getattr(held, "max_units", None) or getattr(held, "max_filters", None)
                if limit is not None:
                    found[name] = min(limit, found.get(name, limit))
        return found

    def apply(
        self, edits: Sequence[Resize | Rewire | Reconfigure], preserve: bool = True, reason: str = "asked for"
    ) -> list[StructureEvent]:
        """Plan and carry out edits of different axes and masks at once, all or nothing, and log them."""
        if wrong := [edit for edit in edits if not isinstance(edit, Resize | Rewire | Reconfigure)]:
            raise TypeError(f"Expected an edit such as keras_struct.grow(axis, width, count). Received: {wrong[0]!r}")
        if not edits:
            return []
        self.follow_layers()
        backend = current()
        self._compare()
        self.sync()
        sample = None if self._silent else self.observation.sample(CHANGE_SAMPLES)
        outputs = None if sample is None else self._outputs(sample)
        start = time.perf_counter()
        before = [self._size(edit) for edit in edits]
        whole = self._edited_network(edits)
        self._warn_of_mixing(whole, edits, preserve)
        slots = [*self.live_slots(), *self.holders.slots()]
        planned = plan(whole, edits, slots, preserve, self.new_slots, self.limits(), self.graph)
        self.holders.check(planned)
        resizings = [edit for edit in edits if isinstance(edit, Resize)] if whole is not self.network else []
        graph = self.graph.edited(*resizings)[0] if resizings else self.graph
        stale = commit(whole, planned)
        if whole is not self.network:
            self.network.graph = graph
        self._tell_others(planned)
        backend.after_edit(self.model, self.network.layers.values())
        if stale:
            self._variables_replaced()
            self.retraces += 1
        seconds = time.perf_counter() - start
        change = nan if outputs is None else _relative_change(outputs, self._outputs(sample))
        self.parameters += planned.added_parameters(self._weights_counted)
        facts = {
            "reason": reason,
            "parameters": self.parameters,
            "seconds": seconds / len(edits),
            "change": change,
            "retraced": stale,
        }
        events = [self._event(edit, size, facts) for edit, size in zip(edits, before, strict=True)]
        self.log.extend(events)
        self._total_connections = None
        return events

    def _edited_network(self, edits: Sequence[Any]) -> Network:
        """The network with the layers around it that an edit of units concerns, too."""
        if any(isinstance(edit, Reconfigure) for edit in edits):
            self._connections = -1
            return self.network
        if self._connections != (count := connections(self.network)):
            self._whole, self._connections = with_surroundings(self.network), count
            self.holders = OtherHolders(self.model, self._whole)
            current().watch(self._whole.variables())
        return self._whole

    def _warn_of_mixing(self, whole: Network, edits: Sequence[Any], preserve: bool) -> None:
        """Warn of layers around the model that mix units, so that what they compute changes."""
        axes = [edit.axis for edit in edits if isinstance(edit, Resize) and edit.axis in whole.graph.axes]
        for axis in axes if preserve and whole is not self.network else ():
            reason = whole.graph.units[axis].mixes
            if reason is not None and self.graph.units[axis].mixes is None:
                self.observation.warn(
                    f"mixed around: {axis}",
                    f"A layer outside of '{self.model.name}' reads axis '{axis}' and changes what it computes when units come or "
                    f"go: {reason}. Train it on, or edit the network through a StructuralModel that holds it, too.",
                )

    def _tell_others(self, planned: Plan) -> None:
        """Let other structural models that share layers read them again when they are next used."""
        written = {id(variable) for variable, _, _ in planned.writes}
        for other in _all:
            if other is not self and other.holders.share(written):
                other.outdate(planned.stale)

    def outdate(self, reconfigured: bool) -> None:
        """Note that layers were edited elsewhere, perhaps in what they do."""
        self._outdated, self._reconfigured = True, self._reconfigured or reconfigured

    def _compare(self) -> None:
        """Read the structure again if variables do not have the shapes that it says."""
        if not fits(self.network):
            self._outdated = True
            self._catch_up()

    def _catch_up(self) -> None:
        """Follow edits that were made through another structural model."""
        self._outdated = False
        try:
            network = catch_up(self._network, self.model, self._reconfigured)
        except ValueError:
            self._outdated = True
            raise
        self._reconfigured, self._connections = False, -1
        if network is not self._network:
            self._read(network)
            self.observation.network = network
        self.observation.forget_compiled()
        self.parameters = self.model.count_params()
        self._total_connections = None

    def _size(self, edit: Resize | Rewire | Reconfigure) -> int:
        """Units, or connections, before an edit."""
        if isinstance(edit, Resize):
            return self.graph.axes.get(edit.axis, 0)
        if isinstance(edit, Rewire):
            return self.connections.get(edit.layer, 0)
        return self._weights(edit.layer)

    def _weights(self, layer: str) -> int:
        """Trainable weights of a layer."""
        held = getattr(self.network.layers.get(layer), "trainable_variables", ())
        return sum(int(np.prod(variable.shape)) for variable in held)

    def _event(self, edit: Resize | Rewire | Reconfigure, before: int, facts: Mapping[str, Any]) -> StructureEvent:
        if isinstance(edit, Rewire):
            return StructureEvent(self.step, edit.layer, before, edit.count, **facts, source=(), edit="Rewire")
        if isinstance(edit, Reconfigure):
            after = self._weights(edit.layer)
            reason = f"{facts['reason']}: {', '.join(f'{name}={value}' for name, value in edit.config.items())}"
            facts = {**facts, "reason": reason}
            return StructureEvent(self.step, edit.layer, before, after, **facts, source=(), edit="Reconfigure")
        return StructureEvent(self.step, edit.axis, before, len(edit.source), **facts, source=edit.source)

    def live_slots(self) -> Sequence[Slot]:
        """Slots of the optimizer as it is now: it may have been built or replaced since `compile`."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and optimizer.built and optimizer is not self._slots_for:
            self.slots, self._slots_for = slots_of(optimizer), optimizer
        return self.slots if optimizer is not None and optimizer.built else ()

    # Measuring

    def remember(self, batch: Any) -> None:
        """Keep a training batch (inputs, or inputs, targets and sample weights) for the next measurement."""
        self.observation.remember(batch)

    def measured(self, axis: str) -> Any:
        """Measure one axis, also in the middle of a running `fit`."""
        self.sync()
        return self.observation.measure([axis], self.limits(), self.initial_widths)[axis]

    def looking_at(self, data: Any) -> AbstractContextManager[None]:
        """Measure on other data for a while; `None` for the probe, or what is kept."""
        return self.observation.looking_at(data)

    def _outputs(self, sample: Any) -> list[np.ndarray]:
        outputs = self.observation.probe.outputs(sample)
        return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]

    def sync(self) -> None:
        """Bring the values that a running `fit` holds back into the variables."""
        current().before_edit(self.model)
        self.holders.before_edit()

    # State

    def state(self) -> dict[str, Any]:
        """What must survive saving, as JSON can hold it."""
        return {
            "step": self.step,
            "widths": dict(self.graph.axes),
            "groups": self.groups(),
            "choices": self.choices(),
            "initial_widths": self.initial_widths,
            "policy_state": self.policy_state,
            "log": self.log.records(),
            "retraces": self.retraces,
            "unchanged_looks": self.unchanged_looks,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; the widths must be right already."""
        self.step, self.policy_state = int(state["step"]), state["policy_state"]
        self.unchanged_looks = int(state.get("unchanged_looks", 0))
        self._total_connections = None
        self._asked = self.step
        self.initial_widths, self.retraces = dict(state["initial_widths"]), int(state["retraces"])
        self.log = StructureLog.from_records(state["log"])

    def resume(self, epoch: int, batches: int) -> None:
        """Go on in the middle of an epoch: the train function leaves out what was trained on before."""
        self.epoch, self.skip = epoch, ceil(batches / self.model.steps_per_execution)
        keras_internals.start_at_epoch(self.model, epoch)

    def match(self, state: Mapping[str, Any]) -> None:
        """Give the model the structure that weights from elsewhere have; their values are set by the caller."""
        self.match_widths(_by_own_names(state["widths"], self.graph.axes))
        self.match_groups(_by_own_names(state.get("groups", {}), self.groups()))
        self.match_choices(_by_own_names(state.get("choices", {}), self.choices()))

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Edit without logging it or measuring what it does to the outputs: the weights are those of elsewhere soon."""
        log, self.log, self._silent = self.log, StructureLog(), True
        try:
            yield
        finally:
            self.log, self._silent = log, False

    def match_widths(self, widths: Mapping[str, int]) -> None:
        """Give every axis the width that weights from elsewhere have; their values are set by the caller."""
        now = self.graph.axes
        wanted = {axis: width for axis, width in widths.items() if axis in now and now[axis] != width}
        edits = [Resize(axis, tuple(i % now[axis] for i in range(width))) for axis, width in wanted.items()]
        with self._silently():
            self.apply(edits, preserve=False)

    def groups(self) -> dict[str, str]:
        """Name of the group that each layer with a symmetry that can be edited is equivariant to."""
        layers = self.network.layers.items()
        return {path: held.group.name for path, held in layers if hasattr(held, "reweigh") and hasattr(held, "group")}

    def match_groups(self, groups: Mapping[str, str]) -> None:
        """Give every layer the symmetry that weights from elsewhere have; their values are set by the caller."""
        with self._silently():
            free = {path for path in groups if not hasattr(self.network.layers.get(path), "channel_sources")}
            for wanted in (dict.fromkeys(free, "C1"), groups):  # most changes are possible by way of no symmetry
                now = self.groups()
                edits = [
                    Reconfigure(p, {"group": name}) for p, name in wanted.items() if p in now and now[p] != groups[p]
                ]
                for several in _compatible(self.network, edits):
                    self.apply(several)

    def choices(self) -> dict[str, Any]:
        """What each layer that chooses among operations has chosen."""
        return {path: held.choice for path, held in self.network.layers.items() if hasattr(held, "choice")}

    def match_choices(self, choices: Mapping[str, Any]) -> None:
        """Let every layer choose what weights from elsewhere have; their values are set by the caller."""
        now = self.choices()
        with self._silently():
            self.apply(
                [Reconfigure(p, wanted, "copied") for p, wanted in choices.items() if p in now and now[p] != wanted]
            )

    def match_shapes(self, arrays: Sequence[Any]) -> None:
        """Give every axis the width, and every layer the symmetry, of a list of weights in the order of `model.weights`."""
        weights = self.model.weights
        if len(arrays) != len(weights):
            return
        values = {id(weight): array for weight, array in zip(weights, arrays, strict=True)}
        self.match_groups({path: name for path in self.groups() if (name := self._group_in(path, values)) is not None})
        shapes = {id(weight): np.shape(array) for weight, array in zip(weights, arrays, strict=True)}
        extents = {}
        for port in self.graph.all_ports:
            shape = shapes.get(id(keras_internals.own_variables(self.network.layers[port.layer])[port.variable]))
            if shape is not None and len(shape) > port.axis:
                extents[port] = shape[port.axis]
        self.match_widths(self.graph.widths_from(extents))

    def _group_in(self, path: str, values: Mapping[int, Any]) -> str | None:
        """Name of the group that weights of a layer from elsewhere belong to, by their numbers of cosets."""
        layer = self.network.layers[path]
        cosets = values.get(id(keras_internals.own_variables(layer).get("coset")))
        held = (group.name for group in layer.frame.subgroups() if _equal(group.decomposition(layer.frame)[1], cosets))
        return next(held, None)

    def prime(self, x: Any) -> None:
        """Fill an empty buffer with the first samples of array data before the first step."""
        if not self.step:
            self.observation.prime(x)


def _mind_surroundings(model: Any) -> None:
    """Before a model is trained or run: its layers may be around a structural model."""
    ids = {id(variable) for variable in model.variables} if model.built else set()
    for evolution in list(_all) if ids else ():
        if evolution.model is not model and evolution.holders.share(ids):
            evolution.mind_surroundings()


holders.before_functions.append(_mind_surroundings)


def _equal(numbers: Any, others: Any) -> bool:
    return others is not None and np.array_equal(numbers, keras.ops.convert_to_numpy(others))


def _by_own_names(found: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file says of layers, by their names here: Keras names layers anew in each model, and keeps their order."""
    if set(found) == set(own) or len(found) != len(own):
        return found
    return dict(zip(own, found.values(), strict=True))


def _compatible(network: Network, edits: Sequence[Reconfigure]) -> list[list[Reconfigure]]:
    """Edits that can be made at once, and behind them, one by one, those of layers that lay out their channels anew."""
    moving = [edit for edit in edits if hasattr(network.layers[edit.layer], "channel_sources")]
    return [[edit for edit in edits if edit not in moving], *([edit] for edit in moving)]


def _relative_change(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    pairs = list(zip(before, after, strict=True))
    largest = max(float(np.abs(b).max(initial=0.0)) for b, _ in pairs)
    return max(float(np.abs(a - b).max(initial=0.0)) for b, a in pairs) / max(largest, 1e-30)
