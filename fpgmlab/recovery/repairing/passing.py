"""One pass through both networks: what the whole one gives, then the pruned one layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import examples_in
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import eval_mode, tensor_of, tensors_in
from fpgmlab.common.shelf import Shelf
from fpgmlab.recovery.repairing.equations import Beyond, Part, Refit, Sums, by_group, refitted, sums_of_rows, wide
from fpgmlab.recovery.repairing.following import After, Looking
from fpgmlab.recovery.repairing.progress import Progress
from fpgmlab.recovery.repairing.running import Arrival, Run
from fpgmlab.recovery.repairing.targets import Cut, Drawing, Output, Places, Targets

EVERY = 4  # so many-th picture is held out
EXACT = 1e-4  # ridges below need sums in float64


@dataclass(frozen=True)
class Options:
    """How a repair is done; see `fpgmlab.repair`."""

    positions: int | None
    ridge: float | None
    targets: str
    seed: int
    memory: float


class Passing:
    """The state of one repair.

    Parameters
    ----------
    whole, pruned : nn.Module
        The pruned one is changed.
    cuts : mapping of str to Cut
        Its layers.
    batches : sequence
        Of inputs, on the models' device.
    options : Options
    """

    def __init__(
        self, whole: nn.Module, pruned: nn.Module, cuts: Mapping[str, Cut], batches: Sequence[object], options: Options
    ) -> None:
        self._whole, self._pruned, self._cuts, self._batches, self._options = whole, pruned, cuts, batches, options
        self._modules = dict(pruned.named_modules())
        self._sizes = [examples_in(batch) for batch in batches]
        self._after: Mapping[str, After] = {}
        self._places: list[Mapping[str, Places]] = []
        self._elsewhere: dict[str, Sums] = {}
        self._shelf = Shelf(options.memory / 2)

    def __enter__(self) -> Passing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shelf.__exit__(kind, error, trace)

    @torch.no_grad()
    def look(self, stop: Callable[[], bool] | None) -> list[str]:
        """Run the whole network and put aside what its layers give; return the layers that ran, in order."""
        drawing = Drawing(self._options.positions, sum(self._sizes), EVERY, self._options.seed)
        names = list(self._cuts)
        with eval_mode(self._whole), left_as_it_is(self._whole):
            with Looking(self._whole, names) as looking:
                call_model(self._whole, self._batches[0])
            self._after = {name: self._asked(after) for name, after in looking.found().items()}
            first = 0
            for number, batch in enumerate(self._batches):
                _ask(stop)
                size = self._sizes[number]
                with Targets(
                    self._whole, self._cuts, self._after, self._shelf, drawing, number, size, first
                ) as targets:
                    call_model(self._whole, batch)
                self._places.append(targets.places)
                for layer, sums in targets.elsewhere.items():
                    self._elsewhere[layer] = self._elsewhere[layer] + sums if layer in self._elsewhere else sums
                first += size
        return list(self._after)

    def _asked(self, after: After) -> After:
        """Return what follows a layer as far as its targets shall heed it."""
        if self._options.targets == "output":
            return After(after.norm)
        return After(after.norm, after.total, after.other) if self._options.targets == "sum" else after

    @torch.no_grad()
    def layers(self, progress: Progress, stop: Callable[[], bool] | None) -> Generator[dict[str, Any], None, None]:
        """Refit layer after layer; yield what became of each."""
        wanted = {after.other for after in self._after.values() if after.other is not None}
        runs = [Run(self._pruned, batch, list(self._after), wanted) for batch in self._batches]
        kept = _addresses((*self._pruned.parameters(), *self._pruned.buffers(), *tensors_in(self._batches)))
        with Shelf(0) as spilled, _closing(runs):
            for number in range(len(self._after)):
                started = time.perf_counter()
                stored = progress.load(number)
                layer, work = None, None
                for batch, run in enumerate(runs):
                    _ask(stop)
                    arrival = run.resume(spilled)
                    if arrival is None or (layer is not None and layer != arrival.layer):
                        raise RuntimeError(
                            f"{type(self._pruned).__name__} does not call the same layers for each batch: its control "
                            "flow depends on the values, and its layers cannot be refitted one after the other."
                        )
                    layer = arrival.layer
                    if stored is None:
                        work = self._begun(arrival) if work is None else work
                        work.take(arrival, batch)
                    self._make_room(runs, run, spilled, kept)
                if stored is None and work is not None and layer is not None:
                    tensors, row = work.finish()
                    row |= {"seconds": time.perf_counter() - started}
                    progress.save(number, tensors, row)
                elif stored is not None:
                    tensors, row = stored
                    state = self._pruned.state_dict(keep_vars=True)
                    for name, tensor in tensors.items():
                        state[name].data.copy_(tensor)
                yield row

    def _make_room(self, runs: Sequence[Run], run: Run, spilled: Shelf, kept: set[int]) -> None:
        taken = sum(storage.nbytes() for other in runs for storage in other.storages())
        if taken > self._options.memory / 2:
            run.spill(spilled, kept)

    def _begun(self, arrival: Arrival) -> _Layer:
        after = self._after[arrival.layer]
        norm = None if after.norm is None else self._modules[after.norm]
        return _Layer(self, arrival, after, norm)


class _Layer:
    """The equations of one layer, as they come in."""

    def __init__(self, work: Passing, arrival: Arrival, after: After, norm: nn.Module | None) -> None:
        self._work, self._name, self._after, self._norm = work, arrival.layer, after, norm
        self._call = replace(arrival.call, input=arrival.call.input.new_empty(0))  # keeps no activations
        outputs = int(work._cuts[self._name].outputs.sum())
        self._output = Output.of(norm, outputs, arrival.call.weight.device)
        groups = self._call.groups
        scale = self._output.scale.reshape(groups, 1, -1)
        self._beyond = None if after.activation is None else Beyond(scale, after.activation)
        self._sums = work._elsewhere.get(self._name)
        self._parts: list[int] = []
        self._exact = (work._options.ridge is not None and work._options.ridge < EXACT) or (
            arrival.call.weight.dtype == torch.float64
        )

    def take(self, arrival: Arrival, batch: int) -> None:
        """Add the equations of a batch."""
        work, call, places = self._work, arrival.call, self._work._places[batch][self._name]
        value, shift = work._shelf.take((self._name, batch)), self._output.shift
        if self._after.other is not None:
            other = call.at(arrival.made[self._after.other], places.places)
            value, shift = self._output.undone(value - other), shift + other
        rows = wide(call.rows(places.places))
        targets = by_group(value, call.groups)
        found = sums_of_rows(rows, targets, places.used, self._exact)
        self._sums = found if self._sums is None else self._sums + found
        if not (self._sums.train.finite() and self._sums.held.finite()):
            raise ValueError(
                f"layer {self._name!r} reads NaN or infinite values in the pruned network, or gives them in the whole "
                "one, on these pictures. Look at the pictures, and at the weights before it."
            )
        if self._beyond is not None:
            shift = by_group(shift.expand_as(value) if self._after.other is not None else shift[None], call.groups)
            for key, tensor in (("rows", rows), ("targets", targets), ("shift", shift)):
                work._shelf.put((key, batch), tensor)
            self._parts.append(batch)

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Refit the layer; return its changed tensors by dotted name, and its row of the report."""
        work, call = self._work, self._call
        if self._sums is None:
            raise RuntimeError(f"layer {self._name!r} has no equations")
        parts = [
            Part(
                work._shelf.take(("rows", batch)), work._shelf.take(("targets", batch)),
                work._shelf.take(("shift", batch)), work._places[batch][self._name].used,
            )
            for batch in self._parts
        ]  # fmt: skip
        bias = call.bias
        refit = refitted(
            self._sums, call, bias, bias is not None or self._norm is not None, self._output.importance,
            work._options.ridge, self._beyond, parts,
        )  # fmt: skip
        tensors = {}
        if refit.weight is not None:
            call.weight.data.copy_(refit.weight)
            tensors[f"{self._name}.weight" if self._name else "weight"] = call.weight
            if bias is not None:
                bias.data.copy_(refit.offset)
                tensors[f"{self._name}.bias" if self._name else "bias"] = bias
            elif self._norm is not None:
                mean = tensor_of(self._norm, "running_mean")
                mean.sub_(refit.offset)
                tensors[f"{self._after.norm}.running_mean"] = mean
        return tensors, self._row(refit)

    def _row(self, refit: Refit) -> dict[str, Any]:
        after = self._after
        target = "sum" if after.other is not None else "output"
        beyond = f", {after.activation.name}" if after.activation is not None else ""
        return {
            "layer": self._name,
            "target": f"{target}{beyond}",
            "equations": refit.equations,
            "unknowns": refit.unknowns,
            "before": refit.before,
            "after": refit.after,
            "ridge": refit.ridge,
            "note": refit.note,
        }


def _ask(stop: Callable[[], bool] | None) -> None:
    """End it as Ctrl-C does when it shall stop."""
    if stop is not None and stop():
        raise KeyboardInterrupt


def _addresses(tensors: Sequence[Tensor] | Iterator[Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


@contextmanager
def _closing(runs: Sequence[Run]) -> Iterator[None]:
    try:
        yield
    finally:
        for run in runs:
            run.close()
