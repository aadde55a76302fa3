"""Layers of classes that nobody's tracing knows, with the rules that tell of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl


class KernelLast(nn.Module):
    """A convolution whose kernel is laid out (height, width, in, out), and standardised by a constant while it runs."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 3, inputs, outputs) * 0.2)
        self.bias = nn.Parameter(torch.randn(outputs)) if bias else None
        self.width = outputs

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, 1.5 * self.kernel.permute(3, 2, 0, 1), self.bias, padding=1)


class Foreign(torch.autograd.Function):
    """A product with a weight by code that no torch function shows, as an extension in C++."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.from_numpy(x.detach().numpy() @ weight.detach().numpy())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return gradient @ weight.T, x.T @ gradient


class Hidden(nn.Module):
    """A linear layer by foreign code."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(inputs, outputs) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return Foreign.apply(x, self.matrix)


class LowRank(nn.Module):
    """A linear layer with an addition of low rank: two weights read its inputs, two make its outputs."""

    def __init__(self, inputs: int, outputs: int, rank: int = 3) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(rank, inputs)), nn.Parameter(torch.randn(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


class Slope(nn.Module):
    """A positive factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("log", torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.log[:, None, None].exp()


RULES: dict[type[nn.Module], fl.LayerRule] = {
    KernelLast: fl.LayerRule({"kernel": (None, None, "in", "out"), "bias": ("out",)}, attributes={"width": "out"}),
    Hidden: fl.LayerRule({"matrix": ("in", "out")}),
    LowRank: fl.LayerRule(
        {"base.weight": ("out", "in"), "base.bias": ("out",), "down": (None, "in"), "up": ("out", None)}
    ),
    Slope: fl.LayerRule({"log": ("each",)}),
}


class OwnLayers(nn.Module):
    """A residual block of such layers between torch's, for pictures (batch, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 12, 3, 2, padding=1), nn.BatchNorm2d(12)
        self.first, self.slope, self.second = KernelLast(12, 20), Slope(20), KernelLast(20, 12, bias=False)
        self.low, self.hidden, self.head = LowRank(12, 24), Hidden(24, 18), nn.Linear(18, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(F.avg_pool2d(x, 2))))
        x = x + self.second(self.slope(F.relu(self.first(x))))
        return self.head(F.relu(self.hidden(F.relu(self.low(x.mean((2, 3)))))))
