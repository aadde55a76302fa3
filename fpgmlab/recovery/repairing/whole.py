"""What the whole network gives in place of the layers of a pruned one: looked at once, for one plan or for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

import torch
from torch import Tensor, nn

from fpgmlab.common.batches import examples_in
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import left_as_it_is
from fpgmlab.common.modules import eval_mode
from fpgmlab.common.numbers import whole_number
from fpgmlab.common.shelf import Shelf
from fpgmlab.errors import one_of
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following
from fpgmlab.recovery.repairing.equations import Sums
from fpgmlab.recovery.repairing.following import After, Looking
from fpgmlab.recovery.repairing.targets import Cut, Drawing, Places, Targets

TARGETS = ("active", "sum", "output")
EVERY = 4  # so many-th picture is held out


@dataclass(frozen=True)
class Options:
    """How a repair is done; see `fpgmlab.repair`."""

    positions: int | None
    ridge: float | None
    targets: str
    seed: int
    memory: float


def checked_options(
    samples: int | None, positions: int | None, ridge: float | None, targets: str, seed: int, memory: float
) -> Options:
    """Return how a repair shall be done; a `ValueError` for what is out of range."""
    if samples is not None:
        whole_number("samples", samples)
    whole_number("seed", seed, 0)
    if positions is not None:
        whole_number("positions", positions)
    if ridge is not None and not (isinstance(ridge, (int, float)) and ridge >= 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge must be None or a number >= 0; got {ridge!r}")
    if targets not in TARGETS:
        raise ValueError(one_of("targets", targets, TARGETS))
    if not (isinstance(memory, (int, float)) and memory > 0):
        raise ValueError(f"memory must be a number of bytes > 0; got {memory!r}")
    return Options(positions, ridge, targets, seed, memory)


class Whole:
    """What layers give in the whole network, at some places of the pictures.

    Parameters
    ----------
    model : nn.Module
        Is left as it is.
    batches : sequence
        Of inputs, on its device.
    options : Options
    cuts : mapping of str to Cut
        The layers to look at, as a plan cuts them.
    alike : bool
        Whether the pruned network does the same, function by function: else sums are left out of account.
    many : bool
        Keep what all channels give, for other plans as well.

    Attributes
    ----------
    after : mapping of str to After
        The layers that ran, in order.
    places : list of dict
        Of each batch, by layer.
    elsewhere : dict of str to Sums
        Of layers that are called again: equations of the further calls, for this plan's cuts only.
    """

    def __init__(
        self, model: nn.Module, batches: Sequence[object], options: Options, cuts: Mapping[str, Cut], alike: bool,
        many: bool,
    ) -> None:  # fmt: skip
        self._model, self._batches, self._options = model, batches, options
        self._cuts, self._alike, self._many = cuts, alike, many
        self.after: Mapping[str, After] = {}
        self.places: list[Mapping[str, Places]] = []
        self.elsewhere: dict[str, Sums] = {}
        self._shelf = Shelf(options.memory / 2)  # the rest is for a pass, see `Passing`
        self._sources: dict[tuple[str, int], Tensor] = {}

    def __enter__(self) -> Whole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shelf.__exit__(kind, error, trace)

    @torch.no_grad()
    def look(self, stop: Callable[[], None]) -> None:
        """Run the network and put aside what its layers give."""
        sizes = [examples_in(batch) for batch in self._batches]
        drawing = Drawing(self._options.positions, sum(sizes), EVERY, self._options.seed)
        with eval_mode(self._model), left_as_it_is(self._model):
            with Looking(self._model, list(self._cuts), self._batches[0]) as looking:
                call_model(self._model, self._batches[0])
            self.after = {name: self._asked(after) for name, after in looking.found().items()}
            first = 0
            for number, (batch, size) in enumerate(zip(self._batches, sizes, strict=True)):
                stop()
                with Targets(
                    self._model, batch, self._cuts, self.after, self._shelf, drawing, number, size, first, self._many
                ) as targets:
                    call_model(self._model, batch)
                self.places.append(targets.places)
                for layer, sums in targets.elsewhere.items():
                    self.elsewhere[layer] = self.elsewhere[layer] + sums if layer in self.elsewhere else sums
                first += size

    def target(self, layer: str, batch: int, outputs: Tensor) -> Tensor:
        """Return what a layer shall give at its places of a batch, (places, outputs that stay)."""
        if not self._many:
            return self._shelf.take((layer, batch))
        found = self._shelf.look((layer, batch))
        return found if bool(outputs.all()) else found[:, outputs.to(found.device)]

    def sources(self, layer: str, batch: int, call: LayerCall) -> Tensor | None:
        """Return where a layer's kernel reads at its places of a batch; None of a linear layer. See `LayerCall.rows`.

        Parameters
        ----------
        layer : str
        batch : int
        call : LayerCall
            In the pruned network.
        """
        if not call.rank:
            return None
        if not self._many:
            return call.sources(self.places[batch][layer].places)
        if (layer, batch) not in self._sources:
            self._sources[layer, batch] = call.sources(self.places[batch][layer].places)
        return self._sources[layer, batch]

    def _asked(self, after: After) -> After:
        """Return what follows a layer as far as its targets shall heed it."""
        if self._options.targets == "output" or not self._alike:
            return After(after.norm)
        return replace(after, activation=None) if self._options.targets == "sum" else after


@torch.no_grad()
def functions_of(model: nn.Module, layers: Sequence[str], inputs: object) -> list[str]:
    """Return the names of all functions that a model calls in eval mode; it is left as it is."""
    following = Following(model, layers, inputs)
    with eval_mode(model), left_as_it_is(model), following:
        call_model(model, inputs)
    return list(following.names)
