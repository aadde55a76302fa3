"""Tiny networks, each with one way in which layers can be connected, and what tracing should say about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fpgmlab.models.yolov5.loss import LossOptions

Layers = Mapping[str, nn.Module | Tensor]


@dataclass(frozen=True)
class Network:
    """A network and the groups that it must have: for each its reason to be protected, or None when it is free."""

    name: str
    forward: Callable[..., object]
    layers: Callable[[], Layers]
    groups: Mapping[str, str | None]
    inputs: Callable[[], object]
    producers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)

    def build(self) -> Model:
        """Return the network with weights under which every channel matters."""
        torch.manual_seed(0)
        return busy(Model(self.forward, self.layers())).eval()


class Model(nn.Module):
    """A module of the given layers (tensors become buffers, parameters stay) whose forward is a function."""

    def __init__(self, forward: Callable[..., object], layers: Layers) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            if isinstance(layer, Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, *args: Any, **kwargs: Any) -> object:
        return self.run(self, *args, **kwargs)


def loss_options(
    pixels: int, classes: int, levels: tuple[float, ...], box: float = 0.05, objectness: float = 1.0, kinds: float = 0.5
) -> LossOptions:
    """Return options whose weights, when they are scaled for a detector, are these."""
    even = 3 / len(levels)
    return LossOptions(box / even, objectness / even * 640**2 / pixels, kinds / even * 80 / classes, levels)


def busy(model: nn.Module) -> nn.Module:
    """Give every parameter and running statistic a value of its own: scales near 1, biases and means near 0."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        with torch.no_grad():
            if name.endswith(("running_var",)) or (name.endswith("weight") and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("running_mean") or (name.endswith("bias") and tensor.ndim == 1):
                tensor.uniform_(-0.5, 0.5)
            elif tensor.is_floating_point() and isinstance(tensor, nn.Parameter):
                tensor.normal_(0, 1 / math.sqrt(max(1, tensor[0].numel())))
    return model


NETWORKS: list[Network] = []


def network(groups: Mapping[str, str | None], layers: Callable[[], Layers], inputs: Any = None, **expected: Any) -> Any:
    """Add a network to `NETWORKS`: its forward is the decorated function of the model and its inputs."""

    def add(forward: Callable[..., object]) -> Callable[..., object]:
        make = inputs or (lambda: torch.randn(2, 3, 8, 8))
        NETWORKS.append(Network(forward.__name__, forward, layers, groups, make, **expected))
        return forward

    return add


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


HEAD = {"fc": "output"}


# Plain chains --------------------------------------------------------------------------------------------------------


@network(
    {"conv1": None, "conv2": None} | HEAD,
    lambda: {"conv1": conv(3, 8), "bn": nn.BatchNorm2d(8), "conv2": conv(8, 6, bias=False), "fc": nn.Linear(6, 5)},
)
def plain(m, x):
    return m.fc(pooled(F.relu(m.conv2(F.relu(m.bn(m.conv1(x)))))))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8 * 64, 5)})
def flatten(m, x):
    return m.fc(torch.flatten(m.conv(x).relu(), 1))


@network(
    {"conv": None, "fc1": None} | HEAD, lambda: {"conv": conv(3, 8), "fc1": nn.Linear(8, 7), "fc": nn.Linear(7, 5)}
)
def view_from_sizes(m, x):
    x = F.adaptive_avg_pool2d(m.conv(x), 1)
    return m.fc(m.fc1(x.view(x.size(0), x.size(1))).tanh())


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(512, 5)})
def view_rest(m, x):
    x = m.conv(x)
    return m.fc(x.view(len(x), -1))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(512, 5)})
def view_product_of_sizes(m, x):
    n, c, h, w = m.conv(x).shape
    return m.fc(m.conv(x).reshape(n, c * h * w))


@network({"conv": "exactly 512"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(512, 5)})
def view_literal(m, x):
    return m.fc(m.conv(x).view(x.shape[0], 512))


@network({"conv": "exactly 8"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def expand_literal(m, x):
    x = m.conv(x).mean((2, 3), keepdim=True).expand(-1, 8, 4, 4)
    return m.fc(pooled(x))


@network(
    {"conv1": None, "conv2": None} | HEAD,
    lambda: {"conv1": conv(3, 8), "drop": nn.Dropout2d(), "conv2": conv(8, 6), "fc": nn.Linear(6, 5)},
)
def dropout(m, x):
    x = m.drop(F.relu6(m.conv1(x), inplace=True))
    return m.fc(F.dropout(pooled(m.conv2(x)), training=m.training))


@network(
    {f"conv{i}": None for i in range(4)} | HEAD,
    lambda: (
        {
            f"conv{i}": nn.Conv2d(3 if i == 0 else 6, 6, 3, padding=1, padding_mode=mode)
            for i, mode in enumerate(("zeros", "circular", "reflect", "replicate"))
        }
        | {"fc": nn.Linear(6, 5)}
    ),
)
def padding_modes(m, x):
    return m.fc(pooled(m.conv3(m.conv2(m.conv1(m.conv0(x))))))


@network(
    {"conv1": None, "conv2": None} | HEAD,
    lambda: {"conv1": nn.Conv1d(3, 8, 3), "bn": nn.BatchNorm1d(8), "conv2": nn.Conv1d(8, 6, 3), "fc": nn.Linear(6, 5)},
    lambda: torch.randn(2, 3, 16),
)
def conv1d(m, x):
    return m.fc(F.max_pool1d(m.conv2(m.bn(m.conv1(x)).relu()), 2).mean(-1))


@network(
    {"conv1": None, "conv2": None} | HEAD,
    lambda: {"conv1": nn.Conv3d(3, 8, 3), "bn": nn.BatchNorm3d(8), "conv2": nn.Conv3d(8, 6, 2), "fc": nn.Linear(6, 5)},
    lambda: torch.randn(2, 3, 6, 6, 6),
)
def conv3d(m, x):
    return m.fc(F.adaptive_max_pool3d(m.conv2(m.bn(m.conv1(x)).relu()), 1).flatten(1))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": nn.Conv1d(3, 8, 1), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 3, 16),
)
def point_net_maximum(m, x):
    return m.fc(torch.max(m.conv(x), 2, keepdim=True)[0].view(x.size(0), -1))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def keywords_only(m, x):
    x = F.relu(input=F.conv2d(input=x, weight=m.conv.weight, bias=m.conv.bias, padding=1))
    return m.fc(torch.mean(input=torch.flatten(input=x, start_dim=2), dim=2))


@network(
    {"conv1": "one channel", "conv2": None} | HEAD,
    lambda: {"conv1": conv(3, 1), "conv2": conv(1, 6), "fc": nn.Linear(6, 5)},
)
def one_channel(m, x):
    return m.fc(pooled(m.conv2(m.conv1(x))))


# Sums, products, concatenations --------------------------------------------------------------------------------------


def block_layers() -> Layers:
    return {
        "stem": conv(3, 6),
        "conv1": conv(6, 8),
        "bn1": nn.BatchNorm2d(8),
        "conv2": conv(8, 10),
        "short": conv(6, 10, 1),
        "fc": nn.Linear(10, 5),
    }


@network({"stem": None, "conv1": None, "conv2": None} | HEAD, block_layers, producers={"conv2": ("conv2", "short")})
def residual(m, x):
    x = m.stem(x)
    return m.fc(pooled(F.relu(m.conv2(m.bn1(m.conv1(x)).relu()) + m.short(x))))


@network({"stem": None, "conv1": None, "conv2": None} | HEAD, block_layers, producers={"conv2": ("conv2", "short")})
def in_place(m, x):
    x = m.stem(x)
    y = F.relu(m.bn1(m.conv1(x)), inplace=True)
    y = m.conv2(y)
    y += m.short(x)
    y.relu_()
    return m.fc(pooled(y))


@network(
    {"conv1": None, "conv2": None, "conv3": None} | HEAD,
    lambda: {"conv1": conv(3, 8), "conv2": conv(3, 6), "conv3": conv(14, 7), "fc": nn.Linear(7, 5)},
)
def concatenation(m, x):
    return m.fc(pooled(m.conv3(torch.cat([m.conv1(x), m.conv2(x)], 1).relu())))


@network(
    {"conv0": None, "conv1": None, "conv2": None} | HEAD,
    lambda: {
        "conv0": conv(3, 8),
        "bn1": nn.BatchNorm2d(8),
        "conv1": conv(8, 4),
        "bn2": nn.BatchNorm2d(12),
        "conv2": conv(12, 4),
        "bn": nn.BatchNorm2d(16),
        "fc": nn.Linear(16, 5),
    },
)
def dense_block(m, x):
    features = [m.conv0(x)]
    features.append(m.conv1(m.bn1(torch.cat(features, 1)).relu()))
    features.append(m.conv2(m.bn2(torch.cat(features, 1)).relu()))
    return m.fc(pooled(m.bn(torch.cat(features, 1)).relu()))


@network(
    {"conv": None, "squeeze": None} | HEAD,
    lambda: {"conv": conv(3, 8), "squeeze": conv(8, 4, 1), "excite": conv(4, 8, 1), "fc": nn.Linear(8, 5)},
    producers={"conv": ("conv", "excite")},
)
def squeeze_and_excitation(m, x):
    x = m.conv(x)
    scale = m.excite(F.relu(m.squeeze(F.adaptive_avg_pool2d(x, 1)))).sigmoid()
    return m.fc(pooled(x * scale))


@network(
    {"conv": None, "squeeze": None} | HEAD,
    lambda: {"conv": conv(3, 8), "squeeze": nn.Linear(8, 4), "excite": nn.Linear(4, 8), "fc": nn.Linear(8, 5)},
    producers={"conv": ("conv", "excite")},
)
def squeeze_and_excitation_with_views(m, x):
    x = m.conv(x)
    b, c, _, _ = x.size()
    y = m.excite(m.squeeze(x.mean((2, 3)).view(b, c)).relu()).sigmoid().view(b, c, 1, 1)
    return m.fc(pooled(x * y.expand_as(x)))


@network(
    {"conv": None, "gate": "one channel"} | HEAD,
    lambda: {"conv": conv(3, 8), "gate": conv(2, 1), "fc": nn.Linear(8, 5)},
)
def spatial_attention_of_inputs(m, x):
    gate = m.gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
    x = m.conv(x)
    return m.fc(pooled(x * gate))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "scale": torch.rand(1, 8, 1, 1) + 0.5, "fc": nn.Linear(8, 5)},
)
def constant_buffer(m, x):
    return m.fc(pooled(m.conv(x) * m.scale))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "low": nn.Parameter(torch.zeros(8, 1, 1)), "fc": nn.Linear(8, 5)},
)
def learnt_clamp(m, x):
    return m.fc(pooled(torch.clamp(m.conv(x), min=m.low)))


@network({"conv": "fixed width"} | HEAD, lambda: {"conv": conv(3, 3), "fc": nn.Linear(3, 5)})
def input_added(m, x):
    return m.fc(pooled(m.conv(x) + x))


@network(
    {"conv1": "crosses", "conv2": "crosses"} | HEAD,
    lambda: {"conv1": conv(3, 4), "conv2": conv(3, 6), "fc": nn.Linear(24, 5)},
)
def outer_product(m, x):
    x, y = pooled(m.conv1(x)), pooled(m.conv2(x))
    return m.fc((x[:, :, None] * y[:, None, :]).flatten(1))


@network(
    {"conv1": "fixed width"} | HEAD,
    lambda: {"conv1": conv(3, 4), "conv2": conv(4, 8), "fc": nn.Linear(8, 5)},
)
def padded_channels(m, x):
    x = m.conv1(x)
    return m.fc(pooled(F.pad(x, (0, 0, 0, 0, 2, 2)) + m.conv2(x)))


# Grouped and transposed convolutions ---------------------------------------------------------------------------------


@network(
    {"conv": None, "point": None} | HEAD,
    lambda: {
        "conv": conv(3, 8),
        "depth": conv(8, 8, groups=8),
        "bn": nn.BatchNorm2d(8),
        "point": conv(8, 6, 1),
        "fc": nn.Linear(6, 5),
    },
)
def depthwise(m, x):
    return m.fc(pooled(m.point(m.bn(m.depth(m.conv(x))).relu())))


@network(
    {"conv": None, "point": None} | HEAD,
    lambda: {"conv": conv(3, 4), "depth": conv(4, 12, groups=4), "point": conv(12, 6, 1), "fc": nn.Linear(6, 5)},
    channels={"conv": 4},
)
def depthwise_with_multiplier(m, x):
    return m.fc(pooled(m.point(m.depth(m.conv(x)).relu())))


@network(
    {"point": None} | HEAD,
    lambda: {"depth": conv(3, 6, groups=3), "point": conv(6, 6, 1), "fc": nn.Linear(6, 5)},
)
def depthwise_on_the_input(m, x):
    return m.fc(pooled(m.point(m.depth(x).relu())))


@network(
    {"conv": None, "grouped": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 8), "grouped": conv(8, 12, groups=4), "last": conv(12, 6), "fc": nn.Linear(6, 5)},
    steps={"conv": 4, "grouped": 4},
)
def grouped(m, x):
    return m.fc(pooled(m.last(m.grouped(m.conv(x).relu()).relu())))


@network(
    {"conv1": None, "grouped": None} | HEAD,
    lambda: {"conv1": conv(3, 6), "conv2": conv(3, 6), "grouped": conv(12, 8, groups=2), "fc": nn.Linear(8, 5)},
    channels={"conv1": 12},
    producers={"conv1": ("conv1", "conv2")},
    steps={"conv1": 2, "grouped": 2},
)
def grouped_on_a_concatenation(m, x):
    return m.fc(pooled(m.grouped(torch.cat([m.conv1(x), m.conv2(x)], 1)).relu()))


@network(
    {"conv1": None, "grouped": None} | HEAD,
    lambda: {"conv1": conv(3, 4), "conv2": conv(3, 8), "grouped": conv(12, 8, groups=2), "fc": nn.Linear(8, 5)},
    channels={"conv1": 12},
    steps={"conv1": 2, "grouped": 2},
)
def grouped_across_the_seam(m, x):
    return m.fc(pooled(m.grouped(torch.cat([m.conv1(x), m.conv2(x)], 1)).relu()))


@network(
    {"conv": None, "up": None} | HEAD,
    lambda: {"conv": conv(3, 8), "up": nn.ConvTranspose2d(8, 6, 2, 2), "bn": nn.BatchNorm2d(6), "fc": nn.Linear(6, 5)},
)
def transposed(m, x):
    return m.fc(pooled(m.bn(m.up(m.conv(x).relu())).relu()))


@network(
    {"conv": None, "up": None} | HEAD,
    lambda: {"conv": conv(3, 8), "up": nn.ConvTranspose2d(8, 6, 2, 2, groups=2), "fc": nn.Linear(6, 5)},
    steps={"conv": 2, "up": 2},
)
def transposed_grouped(m, x):
    return m.fc(pooled(m.up(m.conv(x).relu()).relu()))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "up": nn.ConvTranspose2d(8, 8, 2, 2, groups=8), "fc": nn.Linear(8, 5)},
)
def transposed_depthwise(m, x):
    return m.fc(pooled(m.up(m.conv(x).relu()).relu()))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 4), "up": nn.ConvTranspose2d(4, 8, 2, 2, groups=4), "fc": nn.Linear(8, 5)},
)
def transposed_depthwise_with_multiplier(m, x):
    return m.fc(pooled(m.up(m.conv(x).relu()).relu()))


# Scales and shifts that are no layer ---------------------------------------------------------------------------------


class FrozenNorm(nn.Module):
    """A batch norm made of four buffers, computed on the buffers first (``view_first=False``) or on their views."""

    def __init__(self, channels: int, view_first: bool) -> None:
        super().__init__()
        self.num_features, self.view_first = channels, view_first
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        tensors = [self.weight, self.bias, self.running_mean, self.running_var]
        if self.view_first:
            tensors = [tensor.reshape(1, -1, 1, 1) for tensor in tensors]
        weight, bias, mean, var = tensors
        scale = weight * (var + 1e-5).rsqrt()
        shift = bias - mean * scale
        if not self.view_first:
            scale, shift = (tensor.to(x.dtype)[None, :, None, None] for tensor in (scale, shift))
        return x * scale + shift


@network(
    {"conv1": None, "conv2": None} | HEAD,
    lambda: {
        "conv1": conv(3, 8),
        "norm1": FrozenNorm(8, view_first=True),
        "conv2": conv(8, 6),
        "norm2": FrozenNorm(6, view_first=False),
        "fc": nn.Linear(6, 5),
    },
)
def frozen_norms(m, x):
    return m.fc(pooled(m.norm2(m.conv2(m.norm1(m.conv1(x)).relu()))))


@network(
    {"conv": None, "last": None, "fc1": None} | HEAD,
    lambda: {
        "conv": conv(3, 8),
        "gamma": nn.Parameter(torch.rand(8) + 0.5),
        "beta": nn.Parameter(torch.rand(1, 8, 1)),
        "last": conv(8, 6),
        "delta": nn.Parameter(torch.rand(6)),
        "fc1": nn.Linear(6, 7),
        "fc": nn.Linear(7, 5),
    },
)
def viewed_scales(m, x):
    x = m.conv(x)
    x = m.gamma.abs().view(1, x.shape[1], 1, 1) * x + m.beta.unsqueeze(-1) / m.gamma.view(1, -1, 1, 1)
    return m.fc(m.fc1(pooled(m.last(x)) * torch.sigmoid(m.delta)).relu())


@network(
    {"conv": "exactly 8"} | HEAD,
    lambda: {"conv": conv(3, 8), "gamma": nn.Parameter(torch.rand(8)), "fc": nn.Linear(8, 5)},
)
def scale_viewed_by_a_literal(m, x):
    return m.fc(pooled(m.conv(x) * m.gamma.view(1, 8, 1, 1)))


@network(
    {"a": None, "last": None} | HEAD,
    lambda: {
        "a": conv(3, 8),
        "b": conv(3, 8),
        "gamma": nn.Parameter(torch.rand(8)),
        "last": conv(16, 6),
        "fc": nn.Linear(6, 5),
    },
    producers={"a": ("a", "b")},
)
def scale_of_two_layers(m, x):
    scale = m.gamma[None, :, None, None]
    return m.fc(pooled(m.last(torch.cat([m.a(x) * scale, m.b(x) * scale], 1))))


@network(
    {"conv": "also enters"} | HEAD,
    lambda: {"conv": conv(3, 8), "gamma": nn.Parameter(torch.rand(8)), "fc": nn.Linear(8, 5)},
)
def scale_used_elsewhere(m, x):
    return m.fc(pooled(m.conv(x) * m.gamma.view(1, -1, 1, 1))) + m.gamma.norm()


@network(
    {"conv": "fixed width", "last": None} | HEAD,
    lambda: {
        "mean": torch.rand(3),
        "scale": nn.Parameter(torch.rand(3) + 0.5),
        "conv": conv(3, 3),
        "last": conv(3, 6),
        "fc": nn.Linear(6, 5),
    },
)
def scale_of_the_input(m, x):
    x = (x - m.mean.view(-1, 1, 1)) * m.scale.view(1, -1, 1, 1)
    return m.fc(pooled(m.last(m.conv(x) * m.scale.view(-1, 1, 1))))


@network(
    {"conv": "fixed channels", "last": None} | HEAD,
    lambda: {
        "conv": conv(3, 5),
        "scale": nn.Parameter(torch.rand(3)),
        "grouped": conv(8, 4, groups=2),
        "last": conv(4, 6),
        "fc": nn.Linear(6, 5),
    },
    steps={"grouped": 2},
)
def scaled_input_beside_channels(m, x):
    x = torch.cat([m.conv(x), x * m.scale.view(1, -1, 1, 1)], 1)
    return m.fc(pooled(m.last(m.grouped(x))))


@network(
    {"conv": "also enters", "other": "also enters", "last": None} | HEAD,
    lambda: {"conv": conv(3, 8), "other": conv(3, 8), "last": conv(8, 6), "fc": nn.Linear(14, 5)},
)
def shifted_by_another_layers_bias(m, x):
    shifted = m.last(m.conv(x) + m.other.bias.view(1, -1, 1, 1))
    return m.fc(pooled(torch.cat([shifted, m.other(x)], 1)))


@network(
    {"conv": "beside its input", "last": None} | HEAD,
    lambda: {
        "conv": conv(3, 8),
        "gamma": nn.Parameter(torch.rand(8)),
        "last": conv(8, 6),
        "fc": nn.Linear(6, 5),
    },
)
def scale_as_a_kernel(m, x):
    kernel = F.conv2d(x[:, :1], m.gamma.view(-1, 1, 1, 1))
    return m.fc(pooled(m.last(m.conv(x) * m.gamma.view(1, -1, 1, 1)))) + kernel.mean()


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 8), "gamma": nn.Parameter(torch.rand(8)), "last": conv(8, 6), "fc": nn.Linear(6, 5)},
)
def softmax_over_the_scale(m, x):
    return m.fc(pooled(m.last(m.conv(x) * m.gamma.view(1, -1, 1, 1).softmax(1))))


# Splits and shuffles -------------------------------------------------------------------------------------------------


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 12), "last": conv(6, 7), "fc": nn.Linear(7, 5)},
    channels={"conv": 6},
)
def gated(m, x):
    a, b = m.conv(x).chunk(2, dim=1)
    return m.fc(pooled(m.last(a * b.sigmoid())))


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 12), "last": conv(6, 7), "fc": nn.Linear(7, 5)},
    channels={"conv": 6},
)
def gated_by_half_the_width(m, x):
    x = m.conv(x)
    a, b = torch.split(x, x.shape[1] // 2, dim=1)
    return m.fc(pooled(m.last(a * b.sigmoid())))


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 12), "last": conv(6, 7), "fc": nn.Linear(7, 5)},
    channels={"conv": 6},
)
def gated_by_glu(m, x):
    return m.fc(pooled(m.last(F.glu(m.conv(x), dim=1))))


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 8), "last": conv(8, 7), "fc": nn.Linear(28, 5)},
)
def glu_over_space(m, x):
    return m.fc(F.adaptive_avg_pool2d(m.last(F.glu(m.conv(x), -1)), 2).flatten(1))


@network(
    {"cv1": None, "m1": None, "cv2": None} | HEAD,
    lambda: {
        "cv1": conv(3, 8, 1),
        "m1": conv(4, 4),
        "m2": conv(4, 4),
        "cv2": conv(12, 7, 1),
        "fc": nn.Linear(7, 5),
    },
    channels={"cv1": 8, "m1": 4},
    producers={"cv1": ("cv1", "m2")},
    steps={"cv1": 2},
)
def c2f(m, x):
    y = list(m.cv1(x).chunk(2, 1))
    y.append(y[-1] + m.m2(m.m1(y[-1]).relu()))
    return m.fc(pooled(m.cv2(torch.cat(y, 1))))


@network(
    {"conv": "fixed position", "a": None, "b": None} | HEAD,
    lambda: {"conv": conv(3, 8), "a": conv(5, 6), "b": conv(3, 6), "fc": nn.Linear(12, 5)},
)
def split_in_fixed_sizes(m, x):
    a, b = torch.split(m.conv(x), [5, 3], dim=1)
    return m.fc(pooled(torch.cat([m.a(a), m.b(b)], 1)))


@network(
    {"conv": "of 4 and 4 channels, as the model's code says"} | HEAD,
    lambda: {"conv": conv(3, 8), "a": conv(4, 6), "fc": nn.Linear(10, 5)},
)
def split_in_fixed_halves(m, x):
    a, b = m.conv(x).split((4, 4), 1)
    return m.fc(pooled(torch.cat([m.a(a), b], 1)))


@network(
    {"conv": "fixed position", "last": None} | HEAD,
    lambda: {"conv": conv(3, 8), "last": conv(5, 6), "fc": nn.Linear(6, 5)},
)
def sliced(m, x):
    return m.fc(pooled(m.last(m.conv(x)[:, :5])))


@network({"conv": "fixed position"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def permuted_by_a_list(m, x):
    return m.fc(pooled(m.conv(x)[:, [3, 1, 2, 0, 7, 6, 5, 4]]))


@network({"conv": "fixed position"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def rolled(m, x):
    return m.fc(pooled(torch.roll(m.conv(x), 1, dims=1)))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def flipped_and_rolled_in_space(m, x):
    x = m.conv(x).flip(1).roll((1, 2), (2, 3))
    return m.fc(pooled(x[:, :, 1:, [0, 2, 3]]))


@network(
    {"conv": None, "inner": None, "out": None} | HEAD,
    lambda: {"conv": conv(3, 8), "inner": conv(4, 6), "out": conv(6, 4), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 3, 8, 8),
    channels={"conv": 4},
    steps={"conv": 2},
)
def shuffle(m, x):
    x = m.conv(x)
    n, c, h, w = x.shape
    x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
    a, b = x.chunk(2, 1)
    out = m.out(m.inner(b).relu())
    return m.fc(pooled(torch.cat([a, out], 1)))


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 12), "last": conv(12, 6), "fc": nn.Linear(6, 5)},
    channels={"conv": 4},
)
def shuffle_of_chunks(m, x):
    return m.fc(pooled(m.last(torch.stack(m.conv(x).chunk(3, 1), 2).flatten(1, 2))))


@network(
    {"conv": None, "grouped": None} | HEAD,
    lambda: {"conv": conv(4, 16, groups=2), "grouped": conv(16, 12, groups=2), "fc": nn.Linear(12, 5)},
    lambda: torch.randn(2, 4, 8, 8),
    channels={"conv": 8},
    steps={"conv": 2, "grouped": 2},
)
def shuffle_between_grouped(m, x):
    parts = [part.unsqueeze(2) for part in m.conv(x).chunk(2, 1)]
    return m.fc(pooled(m.grouped(torch.cat(parts, 2).flatten(1, 2))))


@network(
    {"conv1": None, "last": None} | HEAD,
    lambda: {"conv1": conv(3, 6), "conv2": conv(3, 6), "last": conv(12, 6), "fc": nn.Linear(6, 5)},
    producers={"conv1": ("conv1", "conv2")},
)
def stacked_beside_each_other(m, x):
    return m.fc(pooled(m.last(torch.stack([m.conv1(x), m.conv2(x)], 1).transpose(1, 2).flatten(1, 2))))


@network({"conv": "in rows beside others"} | HEAD, lambda: {"conv": conv(3, 3), "fc": nn.Linear(6, 5)})
def stacked_beside_the_input(m, x):
    return m.fc(pooled(torch.stack([m.conv(x), x], 2).flatten(1, 2)))


@network({"conv": "fixed position"} | HEAD, lambda: {"conv": conv(3, 4), "fc": nn.Linear(4, 5)})
def unpacked_channels(m, x):
    a, b, c, d = m.conv(x).transpose(0, 1)
    return m.fc(torch.stack([a, b, c, d], 1).mean((2, 3)))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 12), "fc": nn.Linear(3, 5)}, channels={"conv": 3})
def pixel_shuffle(m, x):
    return m.fc(pooled(F.pixel_shuffle(m.conv(x), 2)))


@network({"conv": None, "last": None} | HEAD, lambda: {"conv": conv(3, 6), "last": conv(24, 4), "fc": nn.Linear(4, 5)})
def pixel_unshuffle(m, x):
    return m.fc(pooled(m.last(F.pixel_unshuffle(m.conv(x), 2))))


@network(
    {"conv": None, "last": None} | HEAD,
    lambda: {"conv": conv(3, 12), "last": conv(12, 4), "fc": nn.Linear(4, 5)},
    channels={"conv": 4},
)
def channel_shuffle(m, x):
    return m.fc(pooled(m.last(F.channel_shuffle(m.conv(x), 3))))


@network({"conv": None, "last": None} | HEAD, lambda: {"conv": conv(3, 6), "last": conv(18, 4), "fc": nn.Linear(4, 5)})
def each_channel_three_times(m, x):
    return m.fc(pooled(m.last(m.conv(x).repeat_interleave(3, 1))))


# Activations and normalisations --------------------------------------------------------------------------------------


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "act": nn.PReLU(8), "fc": nn.Linear(8, 5)})
def prelu(m, x):
    return m.fc(pooled(m.act(m.conv(x))))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "act": nn.PReLU(), "fc": nn.Linear(8, 5)})
def prelu_of_one_slope(m, x):
    return m.fc(pooled(m.act(m.conv(x))))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "norm": nn.GroupNorm(2, 8), "fc": nn.Linear(8, 5)},
    steps={"conv": 2},
)
def group_norm(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "norm": nn.GroupNorm(1, 8), "fc": nn.Linear(8, 5)})
def group_norm_of_one_group(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network(
    {"fc1": None} | HEAD,
    lambda: {"fc1": nn.Linear(6, 8), "norm": nn.LayerNorm(8), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 6),
)
def layer_norm(m, x):
    return m.fc(m.norm(m.fc1(x)).relu())


@network(
    {"fc1": None} | HEAD,
    lambda: {"fc1": nn.Linear(6, 8), "norm": nn.LayerNorm(8), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 6),
)
def layer_norm_by_torch(m, x):
    x = torch.layer_norm(m.fc1(x), m.norm.normalized_shape, m.norm.weight, m.norm.bias, m.norm.eps)
    return m.fc(x.relu())


@network(
    {"fc1": None} | HEAD,
    lambda: {"fc1": nn.Linear(6, 8), "norm": nn.RMSNorm(8), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 6),
)
def rms_norm(m, x):
    return m.fc(m.norm(m.fc1(x)).relu())


@network(
    {"conv": "over several dimensions"} | HEAD,
    lambda: {"conv": conv(3, 8), "norm": nn.LayerNorm((8, 8, 8)), "fc": nn.Linear(8, 5)},
)
def layer_norm_over_everything(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network({"conv": "number of channels that its code fixes"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def layer_norm_over_a_fixed_number(m, x):
    return m.fc(F.layer_norm(pooled(m.conv(x)), (8,)))


@network(
    {"stem": None, "wide": None} | HEAD,
    lambda: {
        "stem": conv(3, 6),
        "depth": conv(6, 6, 7, groups=6),
        "norm": nn.LayerNorm(6),
        "wide": nn.Linear(6, 10),
        "narrow": nn.Linear(10, 6),
        "layer_scale": nn.Parameter(torch.ones(6)),
        "last": nn.LayerNorm(6),
        "fc": nn.Linear(6, 5),
    },
    producers={"stem": ("stem", "narrow")},
)
def convnext_block(m, x):
    x = m.stem(x)
    y = m.norm(m.depth(x).permute(0, 2, 3, 1))
    y = m.layer_scale * m.narrow(F.gelu(m.wide(y)))
    x = x + y.permute(0, 3, 1, 2)
    return m.fc(m.last(pooled(x)))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "norm": nn.InstanceNorm2d(8, affine=True), "fc": nn.Linear(8, 5)},
)
def instance_norm(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "norm": nn.InstanceNorm2d(8), "fc": nn.Linear(8, 5)})
def instance_norm_without_weights(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network(
    {"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "norm": nn.BatchNorm2d(8, affine=False), "fc": nn.Linear(8, 5)}
)
def batch_norm_without_weights(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network(
    {"conv": "not plainly a layer's own"} | HEAD,
    lambda: {
        "conv": conv(3, 8),
        "norm": nn.BatchNorm2d(8),
        "gamma": nn.Parameter(torch.ones(8)),
        "fc": nn.Linear(8, 5),
    },
)
def batch_norm_with_a_foreign_scale(m, x):
    x = F.batch_norm(m.conv(x), m.norm.running_mean, m.norm.running_var, m.gamma, m.norm.bias)
    return m.fc(pooled(x))


@network({"conv": None} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def softmax_over_space(m, x):
    return m.fc((m.conv(x).flatten(2).softmax(-1)[..., :3]).amax(-1))


@network(
    {"conv": "'max_pool2d' pools over"} | HEAD,
    lambda: {"conv": nn.Conv1d(3, 8, 1), "fc": nn.Linear(4 * 8, 5)},
    lambda: torch.randn(2, 3, 8),
)
def pooled_channels(m, x):
    return m.fc(F.max_pool2d(m.conv(x), (2, 1)).flatten(1))


# Operations over channels ---------------------------------------------------------------------------------------------

PLAIN = {"conv": None} | HEAD


def single() -> Layers:
    return {"conv": conv(3, 8), "fc": nn.Linear(8, 5)}


@network(PLAIN, single)
def softmax_over_channels(m, x):
    return m.fc(pooled(m.conv(x).softmax(1)))


@network(PLAIN, single)
def logarithm_of_softmax(m, x):
    return m.fc(pooled(m.conv(x).softmax(1).log() + F.log_softmax(m.conv(x), dim=1)))


@network(PLAIN, single)
def normalised_over_channels(m, x):
    return m.fc(pooled(F.normalize(m.conv(x))))


@network(PLAIN, single)
def divided_by_its_norm(m, x):
    x = m.conv(x)
    return m.fc(pooled(x / x.norm(2, 1, keepdim=True)))


@network(PLAIN | {"last": None}, lambda: single() | {"last": conv(8, 8)})
def reductions_of_all_kinds(m, x):
    x = m.conv(x)
    last = x.permute(0, 2, 3, 1)
    y = (x - x.mean(1, keepdim=True)) / (x.var(dim=1, keepdim=True, unbiased=False) + 1e-3).sqrt()
    y = y + torch.logsumexp(x, 1, keepdim=True) + torch.linalg.vector_norm(x, dim=1, keepdim=True)
    y = y * (last.std(-1, unbiased=False) + last.amin(dim=-1)).unsqueeze(1) + x.sum((1, 2, 3), keepdim=True) * x.mean()
    deviation, mean = torch.std_mean(x, dim=1, correction=0, keepdim=True)
    return m.fc(pooled(m.last(y + deviation * mean + x.median(1, keepdim=True)[0] + torch.linalg.norm(x))))


@network(PLAIN | {"fc1": None}, lambda: single() | {"fc1": nn.Linear(32, 8)})
def normalised_after_flattening(m, x):
    return m.fc(m.fc1(F.normalize(F.adaptive_avg_pool2d(m.conv(x), 2).flatten(1), dim=1)))


@network(PLAIN | {"gate": None, "last": "one channel"}, lambda: single() | {"gate": conv(2, 6), "last": conv(6, 1)})
def gated_by_mean_and_maximum(m, x):
    x = m.conv(x)
    both = torch.cat([x.mean(1, keepdim=True), torch.max(x, dim=1, keepdim=True)[0]], 1)
    return m.fc(pooled(x * m.last(m.gate(both).relu()).sigmoid()))


@network(
    {"stem": None, "wide": None} | HEAD,
    lambda: {
        "stem": conv(3, 6),
        "wide": nn.Linear(6, 10),
        "narrow": nn.Linear(10, 6),
        "gamma": nn.Parameter(torch.ones(10)),
        "beta": nn.Parameter(torch.ones(10)),
        "fc": nn.Linear(6, 5),
    },
    producers={"stem": ("stem", "narrow")},
)
def global_response_norm(m, x):
    x = m.stem(x).permute(0, 2, 3, 1)
    y = F.gelu(m.wide(x))
    size = y.norm(p=2, dim=(1, 2), keepdim=True)
    y = y + torch.addcmul(m.beta, m.gamma, y * (size / (size.mean(dim=-1, keepdim=True) + 1e-6)))
    return m.fc((x + m.narrow(y)).mean((1, 2)))


class ChannelsFirstNorm(nn.Module):
    """A layer norm over the channels of pictures, written by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


@network(
    PLAIN | {"last": None, "third": None},
    lambda: (
        single()
        | {"norm": ChannelsFirstNorm(8), "last": conv(8, 6), "other": ChannelsFirstNorm(6), "third": conv(6, 8)}
    ),
    producers={"third": ("third",)},
)
def channels_first_norms(m, x):
    return m.fc(pooled(m.third(m.other(m.last(m.norm(m.conv(x)))).relu())))


@network(
    PLAIN,
    lambda: single() | {"norm": ChannelsFirstNorm(8), "last": conv(8, 8)},
    producers={"conv": ("conv", "last")},
)
def one_norm_at_two_places(m, x):
    return m.fc(pooled(m.norm(m.last(m.norm(m.conv(x)).relu()))))


@network(
    {"conv": "channels of two kinds", "last": "channels of two kinds"} | HEAD,
    lambda: {"conv": conv(3, 8), "soft": nn.Softmax(1), "last": conv(8, 6), "fc": nn.Linear(6, 5)},
)
def one_softmax_over_channels_of_two_kinds(m, x):
    return m.fc(pooled(m.soft(m.last(m.soft(m.conv(x))))))


@network(
    {"fc1": None, "fc2": None, "fc3": None} | HEAD,
    lambda: {
        "fc1": nn.Linear(6, 8),
        "norm": nn.LayerNorm(8, elementwise_affine=False),
        "fc2": nn.Linear(8, 10),
        "rms": nn.RMSNorm(10, elementwise_affine=False),
        "fc3": nn.Linear(10, 12),
        "fc": nn.Linear(12, 5),
    },
    lambda: torch.randn(2, 6),
)
def norms_without_weights(m, x):
    x = m.fc3(m.rms(m.fc2(m.norm(m.fc1(x)))))
    return m.fc(F.layer_norm(x, x.shape[-1:]))


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "norm": nn.GroupNorm(2, 8, affine=False), "fc": nn.Linear(8, 5)},
    steps={"conv": 2},
)
def group_norm_without_weights(m, x):
    return m.fc(pooled(m.norm(m.conv(x)).relu()))


@network(PLAIN, lambda: single() | {"along": nn.Conv1d(1, 1, 3, padding=1, bias=False)})
def convolution_along_channels(m, x):
    x = m.conv(x)
    y = m.along(x.mean((2, 3)).unsqueeze(1)).sigmoid()
    return m.fc(pooled(x * y.view(len(x), -1, 1, 1)))


@network(
    PLAIN | {"last": None},
    lambda: {
        "conv": conv(3, 8),
        "mix": nn.Linear(64, 20),
        "back": nn.Linear(20, 64),
        "last": nn.Linear(8, 6),
        "fc": nn.Linear(6, 5),
    },
)
def layers_over_tokens(m, x):
    x = m.conv(x).flatten(2)
    x = x + m.back(m.mix(x).relu())
    return m.fc(m.last(x.transpose(1, 2)).mean(1))


@network(
    {"conv": "used in two ways", "mix": "another dimension"} | HEAD,
    lambda: {"conv": conv(3, 8), "mix": nn.Linear(8, 8), "fc": nn.Linear(8, 5)},
)
def one_layer_over_tokens_and_channels(m, x):
    x = m.conv(x).flatten(2)[..., :8]
    return m.fc(m.mix(m.mix(x).transpose(1, 2)).mean(1))


@network(PLAIN, single)
def local_response_norm(m, x):
    return m.fc(pooled(F.local_response_norm(m.conv(x), 3)))


@network({"conv": "'topk' runs over"} | HEAD, single)
def largest_channels(m, x):
    return m.fc(pooled(m.conv(x)) * m.conv(x).topk(1, 1)[0].mean((1, 2, 3), keepdim=False)[:, None])


@network({"conv": "takes some of its channels by value"} | HEAD, single)
def place_of_the_largest(m, x):
    x = pooled(m.conv(x))
    return m.fc(x * x.max(1, keepdim=True)[1])


@network({"conv": "it is the model's output"}, lambda: {"conv": conv(3, 8)})
def answer_is_the_largest(m, x):
    return m.conv(x).mean((2, 3)).softmax(1).max(1)


# Writing into parts ---------------------------------------------------------------------------------------------------


@network(
    {"conv": None} | HEAD,
    lambda: {"conv": conv(3, 8), "other": conv(3, 8), "fc": nn.Linear(8, 5)},
    producers={"conv": ("conv", "other")},
)
def writing_into_positions(m, x):
    a, b = m.conv(x), m.other(x)
    a[:, :, 1:] += b[:, :, 1:]
    a[..., 0] = 0.5
    return m.fc(pooled(a))


@network({"conv": "by position, or over others"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def writing_into_channels(m, x):
    a = m.conv(x)
    a[:, :4] = 2.0
    return m.fc(pooled(a))


@network({"conv": "fixed width"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def writing_fixed_channels(m, x):
    a = m.conv(x)
    a[:, :, 1:] = torch.arange(8.0).reshape(8, 1, 1)
    return m.fc(pooled(a))


# Attention, and numbers of channels in the code ----------------------------------------------------------------------


@network(
    {"q": None, "v": None} | HEAD,
    lambda: {"q": conv(3, 8, 1), "k": conv(3, 8, 1), "v": conv(3, 6, 1), "fc": nn.Linear(6, 5)},
    producers={"q": ("q", "k")},
)
def attention(m, x):
    q, k, v = (layer(x).flatten(2) for layer in (m.q, m.k, m.v))  # (n, c, positions)
    weights = (q.transpose(1, 2) @ k).softmax(-1)
    return m.fc((v @ weights).mean(-1))


@network(
    {"q": None, "v": None} | HEAD,
    lambda: {"q": conv(3, 8, 1), "k": conv(3, 8, 1), "v": conv(3, 6, 1), "fc": nn.Linear(6, 5)},
    producers={"q": ("q", "k")},
)
def attention_in_one_call(m, x):
    q, k, v = (layer(x).flatten(2).mT for layer in (m.q, m.k, m.v))  # (n, positions, c)
    return m.fc(F.scaled_dot_product_attention(query=q, key=k, value=v).mean(1))


@network(
    {"q": "'matmul' sums products over its channels"} | HEAD,
    lambda: {"q": conv(3, 8, 1), "fc": nn.Linear(4, 5)},
)
def product_with_a_fixed_matrix(m, x):
    return m.fc(pooled((m.q(x).transpose(1, 3) @ torch.ones(8, 4)).transpose(1, 3)))


@network({"conv": "enters a calculation"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def scaled_by_the_width(m, x):
    x = m.conv(x)
    return m.fc(pooled(x * x.shape[1] ** -0.5))


@network({"conv": "enters a calculation"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def scaled_by_the_root_of_the_width(m, x):
    x = m.conv(x)
    return m.fc(pooled(x / math.sqrt(x.size(1))))


@network({"conv": "compared"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def depends_on_the_width(m, x):
    x = m.conv(x)
    return m.fc(pooled(x * 2 if x.shape[1] == 8 else x))


@network({"conv": "shapes another tensor"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def tensor_of_the_width(m, x):
    x = m.conv(x)
    return m.fc(pooled(x * torch.linspace(0, 1, x.shape[1]).view(1, -1, 1, 1)))


@network({"conv": "'len'"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def scaled_by_a_length(m, x):
    x = pooled(m.conv(x))
    return m.fc(x / len(x[0]))


@network(
    {"embed": None, "attn.out_proj": None} | HEAD,
    lambda: {"embed": nn.Linear(6, 8), "attn": nn.MultiheadAttention(8, 4, batch_first=True), "fc": nn.Linear(8, 5)},
    lambda: torch.randn(2, 7, 6),
    channels={"embed": 4},
)
def multihead_attention(m, x):
    x = m.embed(x)
    return m.fc(m.attn(x, x, x)[0].mean(1))


@network(
    {"embed": None} | HEAD,
    lambda: {
        "embed": nn.Linear(6, 8), "words": nn.Linear(5, 8), "attn": nn.MultiheadAttention(8, 4),
        "fc": nn.Linear(8, 5),
    },
    lambda: (torch.randn(2, 7, 6), torch.randn(2, 4, 5)),
    producers={"embed": ("embed", "words", "attn.out_proj")},
    channels={"embed": 4},
)  # fmt: skip
def attention_to_others(m, x, words):
    x, words = m.embed(x).transpose(0, 1), m.words(words).transpose(0, 1)
    return m.fc((x + m.attn(x, words, words.exp())[0]).mean(0))


@network(
    {"embed": None, "encoder.linear1": None} | HEAD,
    lambda: {
        "embed": nn.Linear(6, 8), "encoder": nn.TransformerEncoderLayer(8, 4, 10, batch_first=True),
        "fc": nn.Linear(8, 5),
    },
    lambda: torch.randn(2, 7, 6),
    producers={"embed": ("embed", "encoder.self_attn.out_proj", "encoder.linear2")},
    channels={"embed": 4},
)  # fmt: skip
def encoder_of_torch(m, x):
    return m.fc(m.encoder(m.embed(x)).mean(1))


@network(
    {"conv": "'lstm'"} | HEAD,
    lambda: {"conv": nn.Conv1d(3, 8, 3), "lstm": nn.LSTM(8, 6, batch_first=True), "fc": nn.Linear(6, 5)},
    lambda: torch.randn(2, 3, 16),
)
def recurrent(m, x):
    return m.fc(m.lstm(m.conv(x).transpose(1, 2))[0][:, -1])


# Shared and tied weights ---------------------------------------------------------------------------------------------


@network(
    {"stem": None} | HEAD,
    lambda: {"stem": conv(3, 8), "twice": conv(8, 8), "fc": nn.Linear(8, 5)},
    producers={"stem": ("stem", "twice")},
)
def layer_used_twice(m, x):
    return m.fc(pooled(m.twice(m.twice(m.stem(x)).relu())))


@network(
    {"a": None, "shared": None} | HEAD,
    lambda: {"a": conv(3, 8), "b": conv(3, 8), "shared": conv(8, 6), "fc": nn.Linear(6, 5)},
    producers={"a": ("a", "b")},
)
def layer_of_two_branches(m, x):
    return m.fc(pooled(m.shared(m.a(x)) * m.shared(m.b(x))))


def tied_layers() -> Layers:
    one, two = conv(8, 8, bias=False), conv(8, 8, bias=False)
    two.weight = one.weight
    return {"stem": conv(3, 8), "one": one, "two": two, "fc": nn.Linear(8, 5)}


@network({"stem": None} | HEAD, tied_layers, producers={"stem": ("stem", "one")})
def tied(m, x):
    return m.fc(pooled(m.two(m.one(m.stem(x)).relu())))


def tied_layers_with_biases() -> Layers:
    one, two = conv(8, 8), conv(8, 8)
    two.weight = one.weight
    return {"stem": conv(3, 8), "one": one, "two": two, "fc": nn.Linear(8, 5)}


@network({"stem": "fixed width"} | HEAD, tied_layers_with_biases)
def tied_with_two_biases(m, x):
    return m.fc(pooled(m.two(m.one(m.stem(x)).relu())))


@network({"conv": "also enters 'norm'"} | HEAD, lambda: {"conv": conv(3, 8), "fc": nn.Linear(8, 5)})
def weights_read_elsewhere(m, x):
    return m.fc(pooled(m.conv(x))), m.conv.weight.norm()


@network(
    {"conv": None, "fc1": "also enters", "table": "also enters"} | HEAD,
    lambda: {"conv": conv(3, 8), "fc1": nn.Linear(8, 6), "table": nn.Linear(6, 8), "fc": nn.Linear(8, 5)},
)
def weights_as_an_embedding(m, x):
    words = F.embedding(torch.tensor([1, 2]), m.table.weight)  # (2, 6)
    return m.fc(m.table(m.fc1(pooled(m.conv(x))))), words


@network(
    {"conv": "Model computes its weight while it runs", "": "Model computes its weight while it runs"} | HEAD,
    lambda: {"conv": conv(3, 8), "standard": conv(8, 6), "fc": nn.Linear(6, 5)},
)
def weight_standardised(m, x):
    weight = m.standard.weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
    return m.fc(pooled(F.conv2d(m.conv(x), weight, m.standard.bias, padding=1)))


class Standardised(nn.Conv2d):
    """A convolution that standardises each of its filters in every call, as in NFNets."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))
        self.scale = self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        rows, gain = self.weight.reshape(1, self.out_channels, -1), (self.gain * self.scale).view(-1)
        rows = F.batch_norm(rows, None, None, weight=gain, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, rows.reshape_as(self.weight), self.bias, padding=1, groups=self.groups)


@network(
    {"conv": None, "grouped": None, "last": None} | HEAD,
    lambda: {
        "conv": Standardised(3, 8, 3),
        "grouped": Standardised(8, 12, 3, groups=2),
        "depth": Standardised(12, 12, 3, groups=12),
        "last": Standardised(12, 6, 3),
        "fc": nn.Linear(6, 5),
    },
    steps={"conv": 2, "grouped": 2},
)
def standardised_in_each_call(m, x):
    return m.fc(pooled(m.last(m.depth(m.grouped(m.conv(x).relu())).relu()).relu()))


def normed_layers() -> Layers:
    normed = nn.utils.parametrizations.weight_norm(conv(8, 6))
    return {"conv": conv(3, 8), "normed": normed, "last": conv(6, 7), "fc": nn.Linear(7, 5)}


@network({"conv": "computed by WeightNorm", "normed": "computed by WeightNorm", "last": None} | HEAD, normed_layers)
def weight_norm(m, x):
    return m.fc(pooled(m.last(m.normed(m.conv(x).relu()))))


def frozen_layers() -> Layers:
    frozen = conv(3, 8).requires_grad_(False)
    return {"conv1": frozen, "conv2": conv(8, 6), "fc": nn.Linear(6, 5)}


@network({"conv1": None, "conv2": None} | HEAD, frozen_layers)
def frozen_parameters(m, x):
    return m.fc(pooled(m.conv2(m.conv1(x).relu())))


@network(
    {"conv1": None, "conv2": None} | HEAD, lambda: {"conv1": conv(3, 8), "conv2": conv(8, 6), "fc": nn.Linear(6, 5)}
)
def without_gradients_inside(m, x):
    with torch.no_grad():
        x = m.conv1(x).relu()
    return m.fc(pooled(m.conv2(x)))


# Inputs and outputs --------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two outputs."""

    logits: Tensor
    features: Tensor


@network(
    {"conv1": None, "conv2": "output"} | HEAD, lambda: {"conv1": conv(3, 8), "conv2": conv(8, 6), "fc": nn.Linear(6, 5)}
)
def dict_output(m, x):
    features = m.conv2(m.conv1(x).relu())
    return {"logits": m.fc(pooled(features)), "features": [features]}


@network(
    {"conv1": None, "conv2": "output"} | HEAD, lambda: {"conv1": conv(3, 8), "conv2": conv(8, 6), "fc": nn.Linear(6, 5)}
)
def tuple_output(m, x):
    features = m.conv2(m.conv1(x).relu())
    return m.fc(pooled(features)), (features, 3)


@network(
    {"conv1": None, "conv2": "output"} | HEAD, lambda: {"conv1": conv(3, 8), "conv2": conv(8, 6), "fc": nn.Linear(6, 5)}
)
def dataclass_output(m, x):
    features = m.conv2(m.conv1(x).relu())
    return Pair(m.fc(pooled(features)), features)


@network(
    {"a": None, "b": None} | HEAD,
    lambda: {"a": conv(3, 8), "b": conv(1, 6), "fc": nn.Linear(14, 5)},
    lambda: (torch.randn(2, 3, 8, 8), torch.randn(2, 1, 8, 8)),
)
def two_inputs(m, x, y):
    return m.fc(pooled(torch.cat([m.a(x), m.b(y)], 1)))


@network(
    {"a": None, "b": None} | HEAD,
    lambda: {"a": conv(3, 8), "b": nn.Linear(4, 6), "fc": nn.Linear(14, 5)},
    lambda: {"image": torch.randn(2, 3, 8, 8), "words": torch.randn(2, 4)},
)
def keyword_inputs(m, image, words):
    return m.fc(torch.cat([pooled(m.a(image)), m.b(words)], 1))


@network(
    {"conv": None} | HEAD,
    lambda: {"table": nn.Embedding(10, 6), "conv": nn.Conv1d(6, 8, 3), "fc": nn.Linear(8, 5)},
    lambda: torch.randint(10, (2, 9)),
)
def token_inputs(m, tokens):
    return m.fc(m.conv(m.table(tokens).transpose(1, 2)).relu().mean(-1))
