"""One layer's refit: its equations as they come in, batch by batch, and what is written to it at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import tensor_of
from fpgmlab.common.shelf import Shelf
from fpgmlab.recovery.repairing.equations import Beyond, Part, Refit, Sums, by_group, refitted, sums_of_rows, wide
from fpgmlab.recovery.repairing.following import After
from fpgmlab.recovery.repairing.running import Arrival
from fpgmlab.recovery.repairing.targets import Output, Places

EXACT = 1e-4  # ridges below need sums in float64


class LayerRefit:
    """The equations of one layer, as they come in.

    Parameters
    ----------
    arrival : Arrival
        The layer's first.
    after : After
        What follows it, as far as that is to be heeded.
    norm : nn.Module or None
        The batch norm of the pruned network that alone reads it.
    elsewhere : Sums or None
        Of further calls of a shared layer.
    shelf : Shelf
        For its equations, as long as they come in.
    ridge : float or None
    """

    def __init__(
        self, arrival: Arrival, after: After, norm: nn.Module | None, elsewhere: Sums | None, shelf: Shelf,
        ridge: float | None,
    ) -> None:  # fmt: skip
        call = arrival.call
        self._name, self._after, self._norm, self._shelf, self._ridge = arrival.layer, after, norm, shelf, ridge
        self._call = replace(call, input=call.input.new_empty(0))  # keeps no activations
        outputs = call.weight.shape[1] * call.groups if call.transposed else len(call.weight)
        self._output = Output.of(norm, outputs, call.weight.device)
        scale = self._output.scale.reshape(call.groups, 1, -1)
        self._beyond = None if after.activation is None else Beyond(scale, after.activation)
        self._sums = elsewhere
        self._parts: dict[int, int] = {}  # how many equations of each batch are not held out
        self._exact = call.weight.dtype == torch.float64 or (ridge is not None and ridge < EXACT)

    def take(self, arrival: Arrival, batch: int, places: Places, value: Tensor, sources: Tensor | None) -> None:
        """Add the equations of a batch.

        Parameters
        ----------
        arrival : Arrival
        batch : int
            Its number.
        places : Places
        value : Tensor, (places, outputs)
            What the layer shall give there.
        sources : Tensor or None
            Where it reads there.
        """
        call, shift = arrival.call, self._output.shift
        if self._after.other is not None:
            other = call.at(self._after.in_order(arrival.made[self._after.other]), places.places)
            value, shift = self._output.undone(value - other), shift + other
        rows = wide(call.rows(places.places, sources))
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
                self._shelf.put((key, batch), tensor)
            self._parts[batch] = places.used

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Refit the layer; return its changed tensors by dotted name, and its row of the report."""
        if self._sums is None:
            raise RuntimeError(f"layer {self._name!r} has no equations")
        take = self._shelf.take
        parts = [
            Part(take(("rows", batch)), take(("targets", batch)), take(("shift", batch)), used)
            for batch, used in self._parts.items()
        ]
        call, bias = self._call, self._call.bias
        offset = bias is not None or self._norm is not None
        importance = self._output.importance
        refit = refitted(self._sums, call, bias, offset, importance, self._ridge, self._beyond, parts)
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
        target = "output" if self._after.other is None else "sum"
        beyond = "" if self._after.activation is None else f", {self._after.activation.name}"
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
