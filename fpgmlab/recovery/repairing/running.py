"""The pruned network, run on several batches side by side, halted wherever a layer is to be refitted."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpgmlab.common.calling import call as call_model
from fpgmlab.common.holdings import numbers_alone
from fpgmlab.common.parking import Parked
from fpgmlab.common.shelf import Shelf
from fpgmlab.graph.calls import LayerCall
from fpgmlab.graph.following import Following


@dataclass(frozen=True, eq=False)
class Arrival:
    """A layer that is about to run.

    Attributes
    ----------
    layer : str
    call : LayerCall
    made : dict of int to Tensor
        Of what was asked for, what is there by now, by number.
    """

    layer: str
    call: LayerCall
    made: dict[int, Tensor]


class _Halting(Following):
    """Halts where a layer is called for the first time."""

    def __init__(
        self, model: nn.Module, layers: Sequence[str], inputs: object, wanted: Collection[int],
        halt: Callable[[object], None], done: Collection[str],
    ) -> None:  # fmt: skip
        super().__init__(model, layers, inputs)
        self.alive: dict[int, weakref.ref[Tensor]] = {}
        self._wanted, self._halt = wanted, halt
        self._made: dict[int, Tensor] = {}
        self._begun = set(done)

    def enter(self, layer: str, call: LayerCall) -> None:
        """Before a layer is called."""
        if layer not in self._begun:
            self._begun.add(layer)
            self._halt(Arrival(layer, call, self._made))

    def made(self, tensor: Tensor) -> None:
        """After any torch function, of each tensor that it gives."""
        self.alive[id(tensor)] = weakref.ref(tensor)
        if self.number in self._wanted:
            self._made[self.number] = tensor


class Run:
    """The pruned network on one batch, from halt to halt.

    Parameters
    ----------
    model : nn.Module
        Its tensors are read as they are when they are needed; what else its code notes of a pass stays apart.
    inputs : object
    layers : sequence of str
        Where to halt.
    wanted : collection of int
        Tensors to keep, by number; see `Following`.
    done : collection of str
        Layers to pass by without a halt.
    """

    def __init__(
        self, model: nn.Module, inputs: object, layers: Sequence[str], wanted: Collection[int],
        done: Collection[str] = (),
    ) -> None:  # fmt: skip
        tensors: dict[int, object] = {id(t): t for t in (*model.parameters(), *model.buffers())}
        self._own = set(tensors)
        apart = copy.deepcopy(model, numbers_alone(model) | tensors).eval()
        self._mode: _Halting | None = None
        self._spilled: list[tuple[torch.UntypedStorage, int]] = []

        def body(halt: Callable[[object], None]) -> None:
            self._mode = _Halting(apart, layers, inputs, wanted, halt, done)
            with torch.no_grad(), self._mode:
                call_model(apart, inputs)

        self._parked = Parked(body)

    def resume(self, shelf: Shelf) -> Arrival | None:
        """Go on to the next layer; None at the end."""
        self._restore(shelf)
        arrival = self._parked.resume()
        return arrival if isinstance(arrival, Arrival) else None

    def close(self) -> None:
        """End it where it is."""
        self._parked.close()

    def storages(self) -> list[torch.UntypedStorage]:
        """Return the memory of all that is alive of this pass, each once."""
        if self._mode is None:
            return []
        alive = {key: tensor for key, ref in self._mode.alive.items() if (tensor := ref()) is not None}
        self._mode.alive = {key: self._mode.alive[key] for key in alive}
        found = {}
        for key, tensor in alive.items():
            if key not in self._own and tensor.layout == torch.strided:
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage
        return list(found.values())

    def spill(self, shelf: Shelf, keep: Collection[int]) -> None:
        """Put the memory of this pass aside until it goes on.

        Parameters
        ----------
        shelf : Shelf
        keep : collection of int
            Addresses of memory that others hold as well.
        """
        for number, storage in enumerate(self.storages()):
            if storage.data_ptr() in keep or not storage.resizable() or not storage.nbytes():
                continue
            content = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
            shelf.put((id(self), number), content.clone())
            self._spilled.append((storage, number))
            storage.resize_(0)

    def _restore(self, shelf: Shelf) -> None:
        for storage, number in self._spilled:
            content = shelf.take((id(self), number))
            storage.resize_(content.nbytes)
            torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage).copy_(content)
        self._spilled = []
