"""What torch's own attention, `torch.nn.MultiheadAttention`, does with channel labels.

Its operation asks for as many channels in as its heads have together. So a head and as many channels of what it reads
are one unit: they go together, or not at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpgmlab.common.modules import split_name
from fpgmlab.graph.tracing.layers import LayerRecorder, TracedLayer, entering

OPERATION = "multi_head_attention_forward"
_ORDER = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
)  # fmt: skip


def attend(to: LayerRecorder, args: tuple, kwargs: dict, out: tuple[Tensor, Tensor | None]) -> None:
    """Record the projections of an attention, and label what it gives."""
    given = dict(zip(_ORDER, args, strict=False)) | kwargs
    read = [given["query"], given["key"], given["value"]]
    query, key, value = read
    width, heads = query.shape[-1], int(given["num_heads"])
    positions = [tensor.numel() // tensor.shape[-1] // to.batch for tensor in read]
    owner = _owner(to, given)
    reason = "belongs to no nn.MultiheadAttention of plain form" if owner is None else _odd(to, given)
    if owner is None or reason:
        for tensor in read:
            to.freeze(to.get(tensor), f"enters an attention, which {reason}")
        to.add_macs((2 * query.numel() + key.numel() + value.numel()) * width // to.batch)
        for result in out:
            to.put(result, None)
        return
    ids = entering(to, query, -1, OPERATION)
    for tensor in (key, value):  # all read through the same columns of one weight
        to.tie(ids, entering(to, tensor, -1, OPERATION))
    rows = ids.reshape(heads, -1)  # (heads, channels of each)
    known = to.known(owner)
    made = to.new_labels(heads) if known is None else torch.from_numpy(known.outputs[: width : width // heads].copy())
    if bool((ids == 0).any()):
        to.freeze(
            torch.cat([ids, made]), "enters an attention, whose heads go with what it reads: that is of fixed width"
        )
    else:
        to.tie(*torch.broadcast_tensors(rows, made[:, None]))
    to.units(made, width // heads, "head")
    inner = made.repeat_interleave(width // heads)
    to.record(TracedLayer(owner, "in_projection", inner.repeat(3).numpy(), ids.numpy(), positions=sum(positions)))
    last = f"{owner}.out_proj" if owner else "out_proj"
    known = to.known(last)
    outputs = to.new_labels(len(given["out_proj_weight"])) if known is None else torch.from_numpy(known.outputs)
    to.record(TracedLayer(last, "linear", outputs.numpy(), inner.numpy(), positions=positions[0]))
    to.put(out[0], outputs.reshape((1,) * (out[0].ndim - 1) + (-1,)))
    if out[1] is not None:  # over all heads, nearly always
        to.put(out[1], None)
        to.reduced.add(out[1], made.numpy(), places=True)


def _owner(to: LayerRecorder, given: dict) -> str | None:
    """Return the module whose own weights these are, by their usual names."""
    names = [to.name_of(given[key]) for key in ("in_proj_weight", "out_proj_weight")]
    owner = split_name(names[0] or "")[0]
    usual = [f"{owner}.{key}".lstrip(".") for key in ("in_proj_weight", "out_proj.weight")]
    return owner if names == usual and isinstance(to.modules.get(owner), nn.MultiheadAttention) else None


def _odd(to: LayerRecorder, given: dict) -> str | None:
    """Return in words why an attention cannot be cut, or None."""
    mask = given.get("attn_mask")
    if given.get("bias_k") is not None or given.get("static_k") is not None or given.get("static_v") is not None:
        return "adds keys and values of its own"
    if mask is not None and (mask.ndim > 2 or to.get(mask) is not None):
        return "has a mask for each head"
    return None
