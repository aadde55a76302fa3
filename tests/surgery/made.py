"""Networks of torchvision, made quickly, in which every parameter matters."""

from __future__ import annotations

import math
from contextlib import ExitStack
from unittest import mock

import torch
import torchvision
from torch import Tensor, nn

NOISE = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0))
PIXELS = {"inception_v3": 299, "maxvit_t": 224}  # the least that work; 64 for all others
OPTIONS = {"googlenet": {"aux_logits": True, "init_weights": False}}
OPTIONS["inception_v3"] = OPTIONS["googlenet"]


def build(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network without torchvision's slow initialisation, every tensor filled by `fill`, and an input."""
    pixels = 2 * int(name.rpartition("_")[2]) if name.startswith("vit") else PIXELS.get(name, 64)
    options = OPTIONS.get(name, {}) | ({"image_size": pixels} if name.startswith("vit") else {})
    with ExitStack() as stack:
        for function in [f for f in vars(nn.init) if f.endswith("_") and not f.startswith("_")]:
            stack.enter_context(mock.patch.object(nn.init, function, lambda tensor, *args, **kwargs: tensor))
        model = torchvision.models.get_model(name, weights=None, **options).eval()
    x = torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    fill(model)
    calibrate(model, x)
    return model, x


def fill(model: nn.Module) -> None:
    """Make every parameter matter: weights of unit gain, scales near 1, biases near 0."""
    offset = 0
    for name, parameter in model.named_parameters():
        flat = parameter.detach().view(-1)
        for start in range(0, len(flat), 400_000):
            offset = (offset + 7919) % 500_000
            part = flat[start : start + 400_000]
            part.copy_(NOISE[offset : offset + len(part)])
        if parameter.ndim > 1 and len(parameter) > 1:
            flat.mul_(1.4 / math.sqrt(parameter[0].numel()))
        elif name.endswith("bias"):
            flat.mul_(0.3)
        else:  # a norm's scale, a layer scale
            flat.abs_().add_(0.5)


def calibrate(model: nn.Module, x: Tensor) -> None:
    """Set running statistics to those of an input, then off by something: activations keep their size."""

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        (features,) = inputs
        spread = features.std() + 1e-3
        noise = NOISE[: norm.num_features]
        norm.running_mean.copy_(features.mean((0, 2, 3)) + 0.3 * spread * noise)
        norm.running_var.copy_((spread * (0.7 + 0.3 * noise.abs())) ** 2)

    handles = [m.register_forward_pre_hook(measure) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if handles:
        with torch.no_grad():
            model(x)
    for handle in handles:
        handle.remove()
