"""A layer's own record of its numbers of channels."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn


class _Norm(Protocol):
    """What normalisations record, torch's and a user's own."""

    weight: Tensor | None
    running_mean: Tensor | None
    normalized_shape: tuple[int, ...]
    num_features: int


def match_attributes(module: nn.Module) -> None:
    """Set a module's own record of its channels to what its tensors have."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        filters, read = module.weight.shape[:2]
        if module.groups == module.in_channels and module.groups > 1:  # depthwise
            module.groups = filters // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = filters, read * module.groups
    elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        read, made = module.weight.shape[:2]
        if module.groups == module.in_channels and module.groups > 1:
            module.groups = read
        module.in_channels, module.out_channels = read, made * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.GroupNorm):
        if module.num_groups == module.num_channels:
            module.num_groups = len(module.weight)
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
        module.embed_dim = module.kdim = module.vdim = module.in_proj_weight.shape[1]
        module.num_heads = module.embed_dim // module.head_dim
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif hasattr(module, "normalized_shape"):  # also of a user's own layer norm
        norm = cast("_Norm", module)
        if norm.weight is not None:
            norm.normalized_shape = tuple(norm.weight.shape)
    elif hasattr(module, "num_features") and hasattr(module, "running_mean"):  # also of a frozen batch norm
        norm = cast("_Norm", module)
        tensors = (getattr(module, "weight", None), norm.running_mean)
        norm.num_features = next((len(t) for t in tensors if t is not None), norm.num_features)
