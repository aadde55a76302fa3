"""Batch norms whose statistics are of the whole batch, though each process has a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from fpgmlab.recovery.fitting.processes import Processes


@contextmanager
def synchronised(model: nn.Module, processes: Processes) -> Iterator[None]:
    """Let batch norms in training see the examples of all processes, as in one (torch's own does on GPUs only)."""
    norms = []
    if processes.count > 1:
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    for norm in norms:
        norm.forward = torch.compiler.disable(partial(_forward, norm))  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _forward(norm: _BatchNorm, inputs: Tensor) -> Tensor:
    if not norm.training:
        return type(norm).forward(norm, inputs)
    norm._check_input_dim(inputs)
    outputs, mean, variance, count = _Normalised.apply(inputs, norm.weight, norm.bias, norm.eps)
    seen, means, variances = norm.num_batches_tracked, norm.running_mean, norm.running_var
    if norm.track_running_stats and seen is not None and means is not None and variances is not None:
        with torch.no_grad():
            seen.add_(1)
            share = 1 / float(seen) if norm.momentum is None else norm.momentum
            means.lerp_(mean.to(means.dtype), share)
            variances.lerp_((variance * (count / (count - 1))).to(variances.dtype), share)
    return outputs


class _Normalised(torch.autograd.Function):
    """Normalise by the statistics of all processes; the gradients of scale and shift are of the own examples."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
        dims = [0, *range(2, inputs.ndim)]
        shape = [1, -1, *[1] * (inputs.ndim - 2)]
        values = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
        variance, mean = torch.var_mean(values, dims, correction=0)
        own = torch.cat([mean, variance, mean.new_tensor([values.numel() / max(1, len(mean))])])
        each = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(each, own)
        means, variances, counts = torch.stack(each).split([len(mean), len(mean), 1], dim=1)  # (processes, channels)
        count = counts.sum()
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        scale = (variance + eps).rsqrt()
        normal = (values - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normal, scale, weight, count)
        ctx.dims, ctx.shape, ctx.has_bias = dims, shape, bias is not None
        outputs = normal if weight is None else normal * weight.view(shape)
        outputs = outputs if bias is None else outputs + bias.view(shape)
        ctx.mark_non_differentiable(mean, variance, count)
        return outputs.to(inputs.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *others: Tensor) -> Any:
        normal, scale, weight, count = ctx.saved_tensors
        given = gradient.to(normal.dtype)
        shift, along = given.sum(ctx.dims), (given * normal).sum(ctx.dims)
        sums = torch.cat([shift, along])
        dist.all_reduce(sums)
        of_shift, of_along = (sums / count).view(2, -1)
        inner = given - of_shift.view(ctx.shape) - normal * of_along.view(ctx.shape)
        inputs = inner * (scale if weight is None else scale * weight).view(ctx.shape)
        return inputs.to(gradient.dtype), None if weight is None else along, shift if ctx.has_bias else None, None
