"""One pass through both networks: what the whole one gives, then the pruned one layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import examples_in
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.common.shelf import Shelf
from fpgmlab.graph.following import Following
from fpgmlab.recovery.repairing.equations import Sums
from fpgmlab.recovery.repairing.following import After, Looking
from fpgmlab.recovery.repairing.layer import LayerRefit
from fpgmlab.recovery.repairing.progress import Progress
from fpgmlab.recovery.repairing.running import Arrival, Run
from fpgmlab.recovery.repairing.targets import Cut, Drawing, Places, Targets

EVERY = 4  # so many-th picture is held out


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
    example_input : object
        A small input of theirs.
    """

    def __init__(
        self, whole: nn.Module, pruned: nn.Module, cuts: Mapping[str, Cut], batches: Sequence[object], options: Options,
        example_input: object,
    ) -> None:  # fmt: skip
        self._whole, self._pruned, self._cuts, self._batches, self._options = whole, pruned, cuts, batches, options
        self._example_input = example_input
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
            with Looking(self._whole, names, self._batches[0]) as looking:
                call_model(self._whole, self._batches[0])
            self._after = {name: self._asked(after) for name, after in looking.found().items()}
            self._heed_only_what_runs_alike()
            first = 0
            for number, batch in enumerate(self._batches):
                _ask(stop)
                size = self._sizes[number]
                with Targets(
                    self._whole, batch, self._cuts, self._after, self._shelf, drawing, number, size, first
                ) as targets:
                    call_model(self._whole, batch)
                self._places.append(targets.places)
                for layer, sums in targets.elsewhere.items():
                    self._elsewhere[layer] = self._elsewhere[layer] + sums if layer in self._elsewhere else sums
                first += size
        return list(self._after)

    @torch.no_grad()
    def _heed_only_what_runs_alike(self) -> None:
        """Leave sums out of account where the pruned network does not do the same, function by function."""
        names = []
        for model in (self._whole, self._pruned):
            following = Following(model, list(self._cuts), self._example_input)
            with eval_mode(model), left_as_it_is(model), following:
                call_model(model, self._example_input)
            names.append(following.names)
        if names[0] != names[1]:
            self._after = {name: After(after.norm) for name, after in self._after.items()}

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
                        work.take(arrival, batch, self._places[batch][layer])
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

    def _begun(self, arrival: Arrival) -> LayerRefit:
        after, elsewhere = self._after[arrival.layer], self._elsewhere.get(arrival.layer)
        norm = None if after.norm is None else self._modules[after.norm]
        return LayerRefit(arrival, after, norm, elsewhere, self._shelf, self._options.ridge)


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
