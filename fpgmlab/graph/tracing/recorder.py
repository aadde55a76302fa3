"""What one labelled forward pass has seen: layers with the labels of their channels, ties, and what is frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from fpgmlab.common.modules import full_name, split_name
from fpgmlab.graph.running import Place, Running
from fpgmlab.graph.tracing.counting import Counting
from fpgmlab.graph.tracing.labels import unique_pairs
from fpgmlab.graph.tracing.layers import TracedLayer
from fpgmlab.graph.tracing.own import OwnTensors, laid
from fpgmlab.graph.tracing.reasons import OWN_LAYER, OWN_NUMBER, OWN_SIZE, PLAIN_WEIGHT, Reason
from fpgmlab.graph.tracing.reduced import Reduced
from fpgmlab.graph.tracing.row_numbers import RowNumbers
from fpgmlab.graph.tracing.standardised import Standardised
from fpgmlab.graph.tracing.written import Held


class TracingError(ValueError):
    """A model that could not be traced; the message says where."""


class TraceRecorder(Counting):
    """Labels of tensors, and what the rules in `labels`, `movement` and `layers` tell while a model runs.

    Parameters
    ----------
    model : nn.Module
    batch : int
        Examples in the forward pass.
    dims : mapping of str to int, optional
        Along which dimension some of the model's own tensors have their channels, as for `OwnTensors`.
    """

    def __init__(self, model: nn.Module, batch: int, dims: Mapping[str, int] | None = None) -> None:
        super().__init__(model)
        self.batch = batch
        self.modules = dict(model.named_modules())
        self.own = OwnTensors(self, dims or {})
        self.running = Running()
        self.reductions = self.trace.reductions
        self.reduced = Reduced(self.freeze_ids)
        self.standardised = Standardised()
        self.place: Place | None = None  # of the running torch function, when it may run over channels
        self.label_of = WeakTensorKeyDictionary()
        self.by_content = WeakTensorKeyDictionary()  # tensors as large as the data make them
        self.reads_content = False  # the running torch function takes one
        self.computed: list[str] = []  # operations with weights that are no layer's own
        self.counting = True  # MACs are those of evaluation
        self.seen: set[str] = set()  # the model's tensors that some operation took
        self.other_uses: dict[str, str] = {}  # a model's tensor: what else than its layer takes it
        self.held = Held()
        self.rows = RowNumbers()
        self.apart = {
            name for name, each in model.named_parameters() if each.ndim > 1
        }  # nobody cuts these with a layer
        self.claimed: set[str] = set()  # layers and tensors that the running torch function was recorded for

    @property
    def where(self) -> str:
        return repr(self.current_module()) if self.current_module() else "the model itself"

    def get(self, tensor: Tensor) -> Tensor | None:
        return self.label_of.get(tensor)

    def put(self, tensor: object, label: Tensor | None) -> None:
        if isinstance(tensor, Tensor):
            self.label_of[tensor] = label

    def tie(self, left: Tensor, right: Tensor) -> None:
        pairs = unique_pairs(left, right)
        fixed = (pairs == 0).any(dim=1)
        self.freeze(pairs[fixed], "added to channels of fixed width")
        self.trace.pairs.append(pairs[~fixed].numpy())

    def freeze(self, label: Tensor | None, reason: str, remedy: str = "") -> None:
        if label is not None:
            self.freeze_ids(label.reshape(-1).numpy(), reason, remedy)

    def freeze_ids(self, ids: np.ndarray, reason: str, remedy: str = "") -> None:
        """Freeze channels without a torch function: the model's own code may be running."""
        ids = np.unique(ids[ids > 0])
        if len(ids):
            place = f" in {self.where}" if self.running.names else ""
            self.trace.frozen.append((ids, Reason(reason + place, remedy)))

    def equal_parts(self, parts: Sequence[Tensor]) -> None:
        self.trace.parts.append([part.numpy() for part in parts])

    def is_own(self, label: Tensor) -> bool:
        return self.own.alone(label)

    def units(self, label: Tensor, count: int, name: str) -> None:
        """Note that each of these labels stands for so many channels that go together, a head perhaps."""
        self.trace.units.append((label.reshape(-1).numpy(), count, name))

    def is_model_tensor(self, tensor: Tensor) -> bool:
        return id(tensor) in self.names

    def slice_model_tensor(self, tensor: Tensor, dim: int, label: Tensor) -> None:
        self.record(TracedLayer(self.names[id(tensor)], "tensor", outputs=label.numpy(), dim=dim))

    def name_of(self, tensor: Tensor | None) -> str | None:
        return self.names.get(id(tensor))

    def known(self, layer: str) -> TracedLayer | None:
        return self.trace.layers.get(layer)

    def forget(self, layer: str) -> None:
        """Take what a layer did for another use of its weight, beside which nobody cuts it."""
        del self.trace.layers[layer]
        self.other_uses[f"{layer}.weight" if layer else "weight"] = "a layer over another dimension"

    def record(self, layer: TracedLayer) -> None:
        """Add a layer; one that runs twice must see the same channels twice, and a number as many."""
        self.claimed.add(layer.name)
        layer.positions *= self.counting
        layer.by_content |= self.reads_content
        number = layer.kind == "number"
        known = self.trace.layers.setdefault(f"{layer.name}[{layer.dim}]" if number else layer.name, layer)
        if known is layer:
            return
        if number:
            if not np.array_equal(known.outputs, layer.outputs):
                self.trace.parts.append([known.outputs, layer.outputs])
            return
        same = (known.kind, known.dim, known.groups) == (layer.kind, layer.dim, layer.groups)
        for mine, other in ((known.inputs, layer.inputs), (known.outputs, layer.outputs)):
            if same and mine.shape == other.shape:
                self.tie(torch.from_numpy(mine), torch.from_numpy(other))
            else:
                for labels in (mine, other):
                    self.freeze(torch.from_numpy(labels), f"{layer.name!r} is used in two ways", OWN_LAYER)
        known.positions += layer.positions
        known.by_content |= layer.by_content

    def new_labels(self, count: int) -> Tensor:
        start = self.trace.labels
        self.trace.labels += count
        return torch.arange(start, start + count)

    def reserve(self, tensor: Tensor) -> Tensor | None:
        """Return labels for the sizes of a model's tensor that could have channels; `finish` says whose they are."""
        name, dim = self.names[id(tensor)], self.own.dim_of(tensor)
        if dim is None:
            return None
        if name not in self.reserved:
            self.reserved[name] = laid(self.new_labels(tensor.shape[dim]), dim, tensor.ndim)
        return self.reserved[name]

    def add_macs(self, macs: int) -> None:
        self.trace.other_macs += macs * self.counting

    def current_module(self) -> str:
        return self.running.names[-1] if self.running.names else ""

    def check_seen(self, tensor: Tensor, name: str) -> None:
        if tensor.grad_fn is not None and tensor not in self.label_of and not self.is_model_tensor(tensor):
            raise TracingError(
                f"a tensor that {name!r} takes in {self.where} was computed by code that tracing cannot see (a "
                "scripted module, a custom autograd function). Replace that part by plain torch operations, or give "
                "the class of its module an fpgmlab.LayerRule: fpgmlab.trace(..., layers={Class: rule})."
            )

    def idle(self) -> list[str]:
        """Return the convolutions and linear layers none of whose tensors any operation has taken, by name."""
        layers = {n: m for n, m in self.modules.items() if isinstance(m, (nn.modules.conv._ConvNd, nn.Linear))}
        own = {name: {full_name(name, t) for t, _ in m.named_parameters(recurse=False)} for name, m in layers.items()}
        return [name for name, tensors in own.items() if tensors and not tensors & self.seen]

    def _assign_reserved(self) -> None:
        """Tie the sizes of a model's tensors, as its code read them, to the channels with which each is cut."""
        for name, labels in self.reserved.items():
            layer = self.known(name) or (self.known(split_name(name)[0]) if labels.ndim == 1 else None)
            if layer is not None and len(layer.outputs) == labels.numel():
                self.tie(torch.from_numpy(layer.outputs), labels.reshape(-1))
            else:
                self.freeze(labels, f"its number of channels is that of {name!r}, which is not cut with them", OWN_SIZE)

    def _give_back_biases(self) -> None:
        """Leave biases that were changed before they were added to their layers, which cut them: one number each."""
        layers = self.trace.layers
        for name in [name for name, layer in layers.items() if layer.kind == "tensor"]:
            module, key = split_name(name)
            layer, bias = layers.get(module), layers[name]
            if (
                layer is not None
                and layer.kind == "linear"
                and key == "bias"
                and len(bias.outputs) == len(layer.outputs)
            ):
                self.tie(torch.from_numpy(layer.outputs), torch.from_numpy(bias.outputs))
                del layers[name]

    def finish(self) -> None:
        """Say whose the reserved labels are, and freeze layers whose tensors something else takes as well."""
        self._assign_reserved()
        self.freeze_unsettled()
        self._give_back_biases()
        layers = self.trace.layers
        of_module: dict[str, list[str]] = {}
        for name in self.names.values():
            of_module.setdefault(split_name(name)[0], []).append(name)
        for layer in layers.values():
            if layer.kind == "number" and (use := self.spent.get((layer.name, layer.dim))):
                reason = f"their number in {layer.name!r} also enters {use}"
                self.freeze_ids(layer.outputs, reason, OWN_NUMBER)
            by_itself = layer.kind == "tensor"
            own = [layer.name] if by_itself else of_module.get(layer.name, [])
            # A tensor that takes part by itself, of a module that is also a layer: two would cut it.
            twice = {n for n in own if n in layers and (not by_itself or split_name(n)[0] in layers)} - self.apart
            if not by_itself and set(own) & set(self.trace.rewritten):
                for labels in (layer.inputs, layer.outputs):
                    reason = f"the forward pass writes the weights of {layer.name!r} anew"
                    self.freeze(None if labels is None else torch.from_numpy(labels), reason, PLAIN_WEIGHT)
            used = next((n for n in own if n in self.other_uses or n in twice), None)
            if used is not None:
                by = self.other_uses.get(used, "an elementwise operation")
                for labels in (layer.inputs, layer.outputs):
                    self.freeze(torch.from_numpy(labels), f"{used!r} also enters {by!r}")
