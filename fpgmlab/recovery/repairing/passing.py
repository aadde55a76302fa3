"""One pass through the pruned network, layer by layer."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.digests import digest
from fpgmlab.common.modules import full_name, tensors_in
from fpgmlab.common.shelf import Shelf
from fpgmlab.common.trimming import trim_memory
from fpgmlab.graph.projections import own_tensors
from fpgmlab.recovery.repairing.layer import LayerRefit
from fpgmlab.recovery.repairing.progress import Progress
from fpgmlab.recovery.repairing.running import Arrival, Run
from fpgmlab.recovery.repairing.targets import Cut
from fpgmlab.recovery.repairing.whole import Options, Whole

Finished = tuple[dict[str, Tensor], dict[str, Any]]  # changed tensors by dotted name, a row of the report


class Remembered:
    """Layers that were refitted for other plans, by all that they depend on; the oldest are forgotten.

    Parameters
    ----------
    memory : float
        Bytes.
    """

    def __init__(self, memory: float) -> None:
        self._left = memory
        self._there: OrderedDict[str, Finished] = OrderedDict()

    def load(self, key: str) -> Finished | None:
        """Return a layer, or None."""
        if key in self._there:
            self._there.move_to_end(key)
        return self._there.get(key)

    def save(self, key: str, tensors: Mapping[str, Tensor], row: Mapping[str, Any]) -> None:
        """Remember a layer."""
        kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self._there[key] = (kept, dict(row))
        self._left -= sum(tensor.nbytes for tensor in kept.values())
        while self._left < 0 and self._there:
            _, (old, _) = self._there.popitem(last=False)
            self._left += sum(tensor.nbytes for tensor in old.values())


class Passing:
    """The pruned network on its way to be repaired.

    Parameters
    ----------
    whole : Whole
        That was looked at.
    pruned : nn.Module
        Is changed.
    cuts : mapping of str to Cut
        Its layers.
    batches : sequence
        Of inputs, on the models' device.
    options : Options
    remembered : Remembered, optional
        Of other plans.
    """

    def __init__(
        self, whole: Whole, pruned: nn.Module, cuts: Mapping[str, Cut], batches: Sequence[object], options: Options,
        remembered: Remembered | None = None,
    ) -> None:  # fmt: skip
        self._whole, self._pruned, self._cuts, self._batches, self._options = whole, pruned, cuts, batches, options
        self._remembered = remembered
        self._modules = dict(pruned.named_modules())
        self._keys: list[str] = []

    @torch.no_grad()
    def layers(self, progress: Progress, stop: Callable[[], None]) -> Generator[dict[str, Any], None, None]:
        """Refit layer after layer; yield what became of each."""
        names = list(self._whole.after)
        finished = self._known(names)
        for tensors, row in finished:
            self._write(tensors)
            yield row
        done = names[: len(finished)]
        wanted = {after.other for after in self._whole.after.values() if after.other is not None}
        batches = self._batches if len(done) < len(names) else []
        runs = [Run(self._pruned, batch, names, wanted, done) for batch in batches]
        kept = _addresses((*self._pruned.parameters(), *self._pruned.buffers(), *tensors_in(self._batches)))
        with Shelf(0) as spilled, Shelf(self._options.memory / 4) as shelf, _closing(runs):
            for number in range(len(finished), len(names)):
                started = time.perf_counter()
                stored = progress.load(number)
                layer, work, crowded = None, None, False
                for batch, run in enumerate(runs):
                    stop()
                    arrival = run.resume(spilled)
                    if arrival is None or (layer is not None and layer != arrival.layer):
                        raise RuntimeError(
                            f"{type(self._pruned).__name__} does not call the same layers for each batch: its control "
                            "flow depends on the values, and its layers cannot be refitted one after the other."
                        )
                    layer = arrival.layer
                    if stored is None:
                        work = self._begun(arrival, shelf) if work is None else work
                        target = self._whole.target(layer, batch, self._cuts[layer].outputs)
                        sources = self._whole.sources(layer, batch, arrival.call)
                        work.take(arrival, batch, self._whole.places[batch][layer], target, sources)
                    crowded |= self._make_room(runs, run, spilled, kept)
                if crowded:
                    trim_memory()
                if stored is not None:
                    tensors, row = stored
                    self._write(tensors)
                elif work is not None and layer is not None:
                    tensors, row = work.finish()
                    row |= {"seconds": time.perf_counter() - started}
                    progress.save(number, tensors, row)
                    if self._remembered is not None and self._keys:
                        self._remembered.save(self._keys[number], tensors, row)
                yield row

    def _known(self, names: Sequence[str]) -> list[Finished]:
        """Return the first layers, as far as they were refitted for another plan that cut no layer before otherwise."""
        if self._remembered is None or self._whole.elsewhere:
            return []
        key = ""
        for name in names:
            cut = self._cuts[name]
            key = digest([key, name, cut.inputs, cut.outputs])
            self._keys.append(key)
        found = []
        for key in self._keys:
            stored = self._remembered.load(key)
            if stored is None:
                break
            found.append(stored)
        return found

    def _write(self, tensors: Mapping[str, Tensor]) -> None:
        state = self._pruned.state_dict(keep_vars=True)
        for name in self._cuts:
            own = own_tensors(self._modules, name)
            state |= {full_name(name, key): tensor for key, tensor in own.items()}
        for name, tensor in tensors.items():
            state[name].data.copy_(tensor)

    def _make_room(self, runs: Sequence[Run], run: Run, spilled: Shelf, kept: set[int]) -> bool:
        """Put a run's activations into a file where all of them take too much; tell whether they do."""
        taken = sum(storage.nbytes() for other in runs for storage in other.storages())
        crowded = taken > self._options.memory / 4
        if crowded:
            run.spill(spilled, kept)
            trim_memory()  # each run is a thread, whose malloc keeps what it has freed: gigabytes of many runs
        return crowded

    def _begun(self, arrival: Arrival, shelf: Shelf) -> LayerRefit:
        after, elsewhere = self._whole.after[arrival.layer], self._whole.elsewhere.get(arrival.layer)
        norm = None if after.norm is None else self._modules[after.norm]
        return LayerRefit(arrival, after, norm, elsewhere, shelf, self._options.ridge)


def _addresses(tensors: Sequence[Tensor] | Iterator[Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


@contextmanager
def _closing(runs: Sequence[Run]) -> Iterator[None]:
    try:
        yield
    finally:
        for run in runs:
            run.close()
