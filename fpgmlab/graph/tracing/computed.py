"""Layers whose weights are computed while the model runs: what computes them, and what makes them plain again."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from fpgmlab.graph.tracing.reasons import PLAIN_WEIGHT, Reason

_HOOKS = (
    (WeightNorm, "weight norm", "torch.nn.utils.remove_weight_norm(layer)"),
    (SpectralNorm, "spectral norm", "torch.nn.utils.remove_spectral_norm(layer)"),
    (BasePruningMethod, "a pruning mask", "torch.nn.utils.prune.remove(layer, 'weight')"),
)


def why_computed(module: nn.Module | None) -> Reason:
    """Return what computes a layer's weight, and what to call before the trace.

    Parameters
    ----------
    module : nn.Module or None
        The innermost module that ran when a convolution or linear operation took a weight that is not its own.
    """
    if module is None:
        return Reason("its weight is no layer's own", PLAIN_WEIGHT)
    if parametrize.is_parametrized(module):
        own = (
            list(module.get_submodule("parametrizations.weight").children())
            if parametrize.is_parametrized(module, "weight")
            else []
        )
        kind = " and ".join(type(each).__name__.strip("_") for each in own) or "a parametrization"
        remedy = "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')"
        return Reason(f"its weight is computed by {kind} (plain after {remedy})", f"call {remedy} before the trace")
    for hook in module._forward_pre_hooks.values():
        for rule, words, remedy in _HOOKS:
            if isinstance(hook, rule):
                return Reason(
                    f"its weight is computed by {words} (plain after {remedy})", f"call {remedy} before the trace"
                )
    return Reason(
        f"{type(module).__name__} computes its weight while it runs (put the result into a plain layer first)",
        PLAIN_WEIGHT,
    )
