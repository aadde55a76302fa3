"""A layer's own record of its numbers of channels."""

from __future__ import annotations

from torch import nn


def match_attributes(module: nn.Module) -> None:
    """Set a layer's own record of its channels to what its tensors have."""
    weight = getattr(module, "weight", None)
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        if module.groups == module.in_channels and module.groups > 1:  # depthwise
            module.groups = len(weight) // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        if module.groups == module.in_channels and module.groups > 1:
            module.groups = len(weight)
        module.in_channels, module.out_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif hasattr(module, "normalized_shape"):  # also of a user's own layer norm
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif hasattr(module, "num_features") and hasattr(module, "running_mean"):  # also of a frozen batch norm
        tensors = (weight, module.running_mean)
        module.num_features = next((len(t) for t in tensors if t is not None), module.num_features)
