"""What normalisations do with channel labels, with weights of their own and without."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fpgmlab.graph.tracing.labels import along, varying
from fpgmlab.graph.tracing.layers import LayerRecorder, TracedLayer, owner_of
from fpgmlab.graph.tracing.reasons import PLAIN_NORM
from fpgmlab.graph.tracing.reductions import MIXING_NORMS, runs_over
from fpgmlab.graph.tracing.widths import Width

_DIMS = {"batch_norm": 1, "instance_norm": 1, "group_norm": 1, "layer_norm": -1, "rms_norm": -1}
_SHAPED = frozenset({"layer_norm", "rms_norm"})  # are told the number of their channels


def norm_rule(name: str) -> Callable[..., None] | None:
    """Return the rule for a normalisation (its name without underscores), or None for another operation."""
    return _norm if name in _DIMS else None


def _norm(to: LayerRecorder, name: str, args: tuple, kwargs: dict, out: Tensor) -> None:
    tensor, label = args[0], to.get(args[0])
    if label is None:
        return to.put(out, None)
    dim = _DIMS[name] % label.ndim
    flat = along(label, dim, tensor.shape[dim])
    tensors = [leaf for leaf in pytree.tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
    owner = owner_of(to, tensors, nn.Module)
    shape = kwargs.get("normalized_shape", args[1] if len(args) > 1 else ())
    normed = range(label.ndim - len(shape), label.ndim) if name in _SHAPED else range(label.ndim)
    if not any(d in normed for d in varying(label)):  # within each head
        return to.put(out, label)
    reason = None
    if flat is None or (name in _SHAPED and len(shape) != 1):
        reason = "over several dimensions, or another one than its channels"
    elif owner is None and tensors:
        reason = "with weights that are not plainly a layer's own"
    elif owner is None and name in MIXING_NORMS:
        reason = _without_weights(to, name, args, kwargs, flat)
    if flat is None or reason is not None:
        to.freeze(label, f"is normalised by {name!r} {reason}", PLAIN_NORM)
        return to.put(out, None)
    mixes, groups = name in MIXING_NORMS, 1
    if name == "group_norm":
        groups = _groups(args, kwargs)
        module = to.modules.get(owner) if owner is not None else None
        if groups == len(flat) and isinstance(module, nn.GroupNorm):  # each channel by itself
            name, groups, mixes = "instance_norm", 1, False
        elif groups > 1:
            to.equal_parts(flat.chunk(groups))
    if mixes:
        runs_over(to, flat, dim)
    if owner is None and isinstance(to.modules.get(to.current_module()), nn.modules.batchnorm._NormBase):
        owner = to.current_module()
    if owner is not None:
        to.record(TracedLayer(owner, name, outputs=flat.numpy(), groups=groups))
    to.put(out, label)


def _groups(args: tuple, kwargs: dict) -> int:
    return kwargs.get("num_groups", args[1] if len(args) > 1 else 1)


def _without_weights(to: LayerRecorder, name: str, args: tuple, kwargs: dict, flat: Tensor) -> str | None:
    """Note where the number of channels of a norm without weights is written; return why it cannot be another one."""
    place = to.current_module()
    module, path = to.modules.get(place), f"{place}." if place else ""
    if name == "group_norm":
        if _groups(args, kwargs) == len(flat):
            return "without weights, with as many groups as it has channels"
        if isinstance(module, nn.GroupNorm):
            to.record(TracedLayer(f"{path}num_channels", "number", outputs=flat.numpy(), dim=-1))
        return None
    (count,) = kwargs["normalized_shape"] if "normalized_shape" in kwargs else args[1]
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and module.normalized_shape == (len(flat),):
        to.record(TracedLayer(f"{path}normalized_shape", "number", outputs=flat.numpy(), dim=0))
        return None
    return None if isinstance(count, Width) else "without weights, over a number of channels that its code fixes"
