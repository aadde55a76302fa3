"""What each kind of layer does with channel labels: convolutions, linear layers, PReLU; see `norms` for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpgmlab.common.modules import split_name
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.tracing.attributes import Attribute
from fpgmlab.graph.tracing.computed import why_computed
from fpgmlab.graph.tracing.labels import along
from fpgmlab.graph.tracing.reductions import Reducing
from fpgmlab.graph.tracing.standardised import Standardised
from fpgmlab.graph.tracing.widths import Width

_RANKS = {f"{kind}{n}d": n for n in (1, 2, 3) for kind in ("conv", "conv_transpose")}
CONVOLUTIONS = frozenset(_RANKS)
_OWN = {"weight", "bias", "running_mean", "running_var"}


@dataclass
class TracedLayer:
    """What one layer does with channels; ``inputs`` and ``outputs`` hold a label for each channel, 0 for a fixed one.

    ``kind`` is conv, conv_transpose, linear, batch_norm, instance_norm, group_norm, layer_norm, rms_norm, prelu,
    in_projection (an attention's queries, keys and values by one weight), tensor (a parameter or buffer that takes part
    by itself, cut along ``dim``; with ``positions`` one that filters channels), number (a module's attribute that holds
    how many they are, at the place ``dim`` of a tuple or, -1, by itself), computed (a convolution or linear operation
    whose weight is no layer's own: nobody cuts it, its weight has so many ``numbers``) or by_channel (see
    `fpgmlab.graph.tracing.by_channel`: not cut either, its weight counts once for each channel in ``numbers``); own and
    own_each are layers of a user's class, with its ``rule``, that make channels or do with each something by itself.
    Only convolutions, linear layers, in_projections and own ones have ``inputs``: the others' are their outputs.
    ``positions`` is the number of times that its kernel is applied in the forward pass of one example; ``by_content``
    where the data decide it (a detector's proposals).
    """

    name: str
    kind: str
    outputs: np.ndarray  # (channels out,)
    inputs: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # (channels in,)
    groups: int = 1
    positions: int = 0
    dim: int = 0
    numbers: int = 0
    by_content: bool = False
    rule: LayerRule | None = None


class LayerRecorder(Reducing, Protocol):
    """What the rules for layers tell the tracer on top of `fpgmlab.graph.tracing.reductions.Reducing`."""

    batch: int
    modules: dict[str, nn.Module]
    computed: list[str]
    standardised: Standardised

    def name_of(self, tensor: Tensor | None) -> str | None: ...
    def known(self, layer: str) -> TracedLayer | None: ...
    def forget(self, layer: str) -> None: ...
    def record(self, layer: TracedLayer) -> None: ...
    def new_labels(self, count: int) -> Tensor: ...
    def add_macs(self, macs: int) -> None: ...
    def current_module(self) -> str: ...


def layer_rule(name: str) -> Callable[..., None] | None:
    """Return the rule for a layer's operation (its name without underscores), or None for another operation."""
    if name in _RANKS:
        return _convolution
    others: dict[str, Callable[..., None]] = {
        "linear": _linear,
        "prelu": _prelu,
    }
    return others.get(name)


def makes_channels(name: str) -> bool:
    """Tell whether an operation makes new channels, so that it matters also when it takes none."""
    return name in _RANKS or name in {"linear", "multi_head_attention_forward"}


def _convolution(to: LayerRecorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
    rank, transposed = _RANKS[name], "transpose" in name
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
    tensor, weight = given["input"], given["weight"]
    ids = entering(to, tensor, -rank - 1, name)
    channels, filters = tensor.shape[-rank - 1], out.shape[-rank - 1]
    area = tensor if transposed else out
    positions = area.numel() // area.shape[-rank - 1] // to.batch
    owner = to.standardised.owner(weight) or owner_of(to, [weight], nn.modules.conv._ConvNd)
    if _is_filter(to, ids, given, groups):
        to.spend([leaf for leaf in pytree.tree_leaves((args[3:], kwargs)) if leaf is not groups], repr(name))
        layer = TracedLayer(to.name_of(weight) or "", "tensor", outputs=ids.numpy(), positions=positions)
        to.record(layer)
        return to.put(out, to.get(tensor))
    to.spend(pytree.tree_leaves((args[3:], kwargs)), repr(name))
    if isinstance(groups, Width):
        to.freeze(torch.from_numpy(groups.ids), f"its number of channels shapes another tensor through {name!r}")
    if owner is None or to.modules[owner].groups != groups or to.modules[owner].transposed != transposed:
        outputs = _computed(to, ids, filters, positions, weight)
        return to.put(out, outputs.reshape((1,) * (out.ndim - rank - 1) + (-1,) + (1,) * rank))
    foreign = _foreign_bias(to, given.get("bias"), owner)
    known = to.known(owner)
    if groups == channels and groups > 1:  # depthwise: output channels follow their input channel
        if foreign:
            to.freeze(ids, f"enters {owner!r}, which adds another layer's bias")
        outputs = ids.repeat_interleave(filters // groups)
    elif foreign:
        to.freeze(ids if groups > 1 else None, f"enters {owner!r}, which adds another layer's bias")
        outputs = torch.zeros(filters, dtype=torch.int64)
    else:
        outputs = torch.from_numpy(known.outputs) if known else to.new_labels(filters)
        if groups > 1:
            to.equal_parts(outputs.chunk(groups))
            if bool((ids > 0).all()):
                to.equal_parts(ids.chunk(groups))
            else:
                to.freeze(ids, f"shares a grouped convolution with fixed channels: {owner}")
    kind = "conv_transpose" if transposed else "conv"
    to.record(TracedLayer(owner, kind, outputs.numpy(), ids.numpy(), groups, positions))
    to.standardised.enter(to, weight, ids, outputs)
    to.put(out, outputs.reshape((1,) * (out.ndim - rank - 1) + (-1,) + (1,) * rank))


def _is_filter(to: LayerRecorder, ids: Tensor, given: dict, groups: int) -> bool:
    """Tell whether a model's own tensor filters each channel by itself, as blurring does, and can be cut with them."""
    weight = given["weight"]
    named = isinstance(to.modules.get(split_name(to.name_of(weight) or "")[0]), nn.modules.conv._ConvNd)
    if to.name_of(weight) is None or named or given.get("bias") is not None or weight.shape[:2] != (len(ids), 1):
        return False
    if groups != len(ids) or len(ids) < 2 or not bool((ids > 0).all()):
        return False
    if isinstance(groups, Width):
        return bool(np.isin(groups.ids, ids.numpy()).all())
    return isinstance(groups, Attribute) and to.count(ids.numpy(), groups)


def _linear(to: LayerRecorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
    given = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
    tensor, weight = given["input"], given["weight"]
    ids = entering(to, tensor, -1, name)
    # Windows and tokens count as positions, also where they were folded into the batch.
    positions = tensor.numel() // tensor.shape[-1] // to.batch
    owner, bias = owner_of(to, [weight], nn.Linear), given.get("bias")
    added = None if bias is None else to.get(bias)
    if owner is None:
        to.freeze(added, f"enters {name!r} beside its input")
        outputs = _computed(to, ids, len(weight), positions, weight)
        return to.put(out, outputs.reshape((1,) * (out.ndim - 1) + (-1,)))
    known = to.known(owner)
    if (
        added is not None and added.numel() == len(weight) and bool((added > 0).all())
    ):  # of tensors that are cut as well
        outputs = torch.from_numpy(known.outputs) if known else to.new_labels(len(weight))
        to.tie(outputs, added)
    elif _foreign_bias(to, bias, owner):  # as in torchvision's Swin
        to.freeze(added, f"enters {name!r} beside its input")
        outputs = torch.zeros(len(weight), dtype=torch.int64)
    else:
        outputs = torch.from_numpy(known.outputs) if known else to.new_labels(len(weight))
    to.record(TracedLayer(owner, "linear", outputs.numpy(), ids.numpy(), 1, positions))
    to.put(out, outputs.reshape((1,) * (out.ndim - 1) + (-1,)))


def _computed(to: LayerRecorder, ids: Tensor, filters: int, positions: int, weight: Tensor) -> Tensor:
    """Record an operation whose weight is no layer's own; return its frozen outputs."""
    place = to.current_module()
    why = why_computed(to.modules.get(place))
    count = sum(name == place or name.startswith(f"{place} (") for name in to.computed)
    name = f"{place} ({count + 1})" if count else place  # several in one module
    to.computed.append(name)
    outputs = to.new_labels(filters)
    layer = TracedLayer(
        name, "computed", inputs=ids.numpy(), outputs=outputs.numpy(), positions=positions, numbers=weight.numel()
    )
    to.record(layer)
    to.freeze(torch.cat([ids, outputs]), why.text, why.remedy)
    return outputs


def _prelu(to: LayerRecorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
    tensor, weight = args[0], kwargs["weight"] if "weight" in kwargs else args[1]
    label = to.get(tensor)
    if label is not None and weight.numel() > 1:
        flat, owner = along(label, 1, tensor.shape[1]), owner_of(to, [weight], nn.PReLU)
        if flat is None or owner is None:
            to.freeze(label, f"enters {name!r} along another dimension than its channels")
            label = None
        else:
            to.record(TracedLayer(owner, name, outputs=flat.numpy()))
    to.put(out, label)


def entering(to: LayerRecorder, tensor: Tensor, dim: int, name: str) -> Tensor:
    """Return the labels of a layer's input channels, (channels,)."""
    size = tensor.shape[dim]
    label = to.get(tensor)
    if label is None:
        return torch.zeros(size, dtype=torch.int64)
    flat = along(label, dim, size)
    if flat is None:
        to.freeze(label, f"enters {name!r} along another dimension than its channels")
        return torch.zeros(size, dtype=torch.int64)
    return flat


def owner_of(to: LayerRecorder, tensors: Iterable[Tensor], kind: type[nn.Module]) -> str | None:
    """Return the module of this kind whose own weights these are, by their usual names; else None."""
    owners = set()
    for tensor in tensors:
        name = to.name_of(tensor)
        module, attribute = ("", "") if name is None else split_name(name)
        owners.add(module if attribute in _OWN and isinstance(to.modules.get(module), kind) else None)
    return owners.pop() if len(owners) == 1 else None


def _foreign_bias(to: LayerRecorder, bias: Tensor | None, owner: str) -> bool:
    return bias is not None and to.name_of(bias) != (f"{owner}.bias" if owner else "bias")
