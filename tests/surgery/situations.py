"""Situations that people bring: small networks whose code does something that a pruning tool could get wrong.

Each says which of its groups stay whole, by name with words of the reason; all others can be cut.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import einops
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
OUTPUT = "it is the model's output"


@dataclass(frozen=True)
class Situation:
    """A network, and what shall come of it.

    Attributes
    ----------
    build : callable
        Makes the network, with the same weights each time.
    kept : mapping
        Words of the reason for each group that stays whole.
    example : object
        What it is called with.
    saves, exports, exporter, macs
        Whether its state fits into a file, it can be written as ONNX, and torch counts what we count.
    """

    name: str
    build: Callable[[], nn.Module]
    kept: Mapping[str, str]
    example: object = field(default_factory=lambda: X.clone())
    saves: bool = True
    exports: bool = True
    exporter: str = "torchscript"  # ten times quicker than torch's newer one
    macs: bool = True


SITUATIONS: list[Situation] = []


def situation(kept: Mapping[str, str] | None = None, **options: object) -> Callable[[Callable], Callable]:
    """Add what a function builds to the table."""

    def add(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        def seeded() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return build().eval()

        SITUATIONS.append(Situation(build.__name__, seeded, kept or {"last": OUTPUT}, **options))
        return seeded

    return add


class Net(nn.Module):
    """Layers by name, and a forward pass that is a function of the network and its input."""

    def __init__(self, run: Callable, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = run

    def forward(self, *inputs: Tensor, **named: Tensor) -> object:
        return self.run(self, *inputs, **named)


def two(run: Callable, **layers: nn.Module) -> Net:
    """Return a network with a convolution ``a`` to 8 channels, ``b`` to 6, and ``last`` to 4."""
    usual = {"a": nn.Conv2d(3, 8, 3), "b": nn.Conv2d(8, 6, 1), "last": nn.Conv2d(6, 4, 1)}
    return Net(run, **(usual | layers))


# A plan that would empty a layer ------------------------------------------------------------------------------------


@situation()
def one_branch_scores_lowest():
    net = Net(
        lambda m, x: m.last(torch.cat([m.a(x), m.b(x)], 1) + m.c(x)),
        a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), c=nn.Conv2d(3, 8, 1), last=nn.Conv2d(8, 4, 1),
    )  # fmt: skip
    with torch.no_grad():
        net.a.weight.mul_(0.01)
    return net


@situation()
def a_layer_that_reads_the_lowest():
    net = Net(
        lambda m, x: m.last(m.read(m.a(x)) + m.c(torch.cat([m.a(x), m.b(x)], 1) + m.all(x))),
        a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 4, 1), all=nn.Conv2d(3, 8, 1),
        read=nn.Conv2d(4, 6, 1), c=nn.Conv2d(8, 6, 1), last=nn.Conv2d(6, 4, 1),
    )  # fmt: skip
    with torch.no_grad():
        net.a.weight.mul_(0.01)
    return net


@situation()
def three_branches_of_two():
    return Net(
        lambda m, x: m.last(torch.cat([m.a(x), m.b(x), m.c(x)], 1) * m.gate(x).sigmoid()),
        a=nn.Conv2d(3, 2, 1), b=nn.Conv2d(3, 2, 1), c=nn.Conv2d(3, 2, 1), gate=nn.Conv2d(3, 6, 1),
        last=nn.Conv2d(6, 4, 1),
    )  # fmt: skip


# Heads that run in training only -------------------------------------------------------------------------------------


def with_head(m: Net, x: Tensor) -> object:
    x = m.a(x).relu()
    y = m.last(m.b(x).relu())
    return (y, m.aux(x)) if m.training else y


@situation({"last": OUTPUT, "aux": "output in training"})
def auxiliary_head():
    return two(with_head, aux=nn.Conv2d(8, 4, 1))


@situation({"last": OUTPUT, "aux.2": "output in training"})
def deep_auxiliary_head_with_norm():
    aux = nn.Sequential(nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1))
    return two(with_head, aux=aux)


@situation({"last": OUTPUT, "aux": "output in training"})
def auxiliary_head_on_one_pixel():
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8))

    def run(m: Net, x: Tensor) -> object:
        x = m.a(x).relu()
        y = m.last(m.b(x))
        return (y, m.aux(m.head(x))) if m.training else y

    return two(run, head=head, aux=nn.Conv2d(8, 4, 1))


# What a network keeps of its last run --------------------------------------------------------------------------------


@situation()
def keeps_features_in_a_dict():
    net = two(lambda m, x: m.last(m.b(m.seen.setdefault("a", m.a(x)).relu())))
    net.seen = {}
    net.run = lambda m, x: (m.seen.update(a=m.a(x)), m.last(m.b(m.seen["a"].relu())))[1]
    return net


@situation()
def keeps_features_in_a_list():
    net = two(lambda m, x: (m.seen.append(m.a(x)), m.last(m.b(m.seen[-1].relu())))[1])
    net.seen = []
    return net


@situation()
def a_hook_keeps_features():
    net, seen = two(lambda m, x: m.last(m.b(m.a(x).relu()))), []
    net.a.register_forward_hook(lambda module, inputs, output: seen.append(output))
    net.seen_by_hook = seen
    return net


@situation()
def copied_after_a_training_step():
    net = two(lambda m, x: m.last(m.b(m.keep(m.a(x)).relu())))
    net.last_features = None

    def keep(x: Tensor) -> Tensor:
        net.last_features = x
        return x

    net.keep = keep
    net(X).sum().backward()
    net.keep = lambda x: x
    net.zero_grad()
    return net


# Weights that the forward pass writes ---------------------------------------------------------------------------------


class Rewritten(nn.Module):
    """A convolution whose weight is computed from another one's in every pass."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.train_conv, self.eval_conv = nn.Conv2d(channels_in, channels, 1), nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.eval_conv.weight.data = self.train_conv.weight * 2
        return self.eval_conv(x)


@situation({"a": "anew", "b.eval_conv": "anew", "last": OUTPUT}, exports=False)
def weights_written_in_forward():
    return two(lambda m, x: m.last(m.b(m.a(x).relu())), b=Rewritten(8, 6))


# A module's own record of its width -----------------------------------------------------------------------------------

WIDTHS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "out_channels": lambda m, y: y * m.a.out_channels**-0.5,
    "in_channels": lambda m, y: y / m.b.in_channels,
    "weight_shape": lambda m, y: y / m.a.weight.shape[0],
    "bias_len": lambda m, y: y / len(m.a.bias),
    "float_over_shape": lambda m, y: y * (1.0 / y.shape[1]),
    "float_over_attribute": lambda m, y: y * (1.0 / m.a.out_channels),
    "size_of": lambda m, y: y * float(y.size(1)) ** -0.5,
    "numel": lambda m, y: y * (1.0 / m.a.weight.numel()),
}
for _name, _change in WIDTHS.items():

    def _build(change: Callable[[Net, Tensor], Tensor] = _change) -> nn.Module:
        return two(lambda m, x: m.last(m.b(change(m, m.a(x)).relu())))

    _build.__name__ = f"width_by_{_name}"
    situation({"a": "number", "last": OUTPUT})(_build)


@situation({"a": "number", "last": OUTPUT})
def width_by_num_features():
    return two(lambda m, x: m.last(m.b(m.bn(m.a(x)) * m.bn.num_features**-0.5)), bn=nn.BatchNorm2d(8))


@situation({"a": "asks for exactly 8 of them", "last": OUTPUT})
def width_in_a_shape():
    return two(lambda m, x: m.last(m.b(m.a(x).reshape(x.shape[0], m.a.out_channels, 6, 6))))


# State beside parameters and buffers ----------------------------------------------------------------------------------


class Scale(nn.Module):
    """Multiplies by a number that is no tensor."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.factor, self.plain = 1.0, plain

    def get_extra_state(self) -> object:
        return {"factor": self.factor} if self.plain else torch.tensor(self.factor)

    def set_extra_state(self, state: object) -> None:
        self.factor = float(state["factor"] if self.plain else state)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@situation()
def extra_state_as_a_tensor():
    return two(lambda m, x: m.scale(m.last(m.b(m.a(x)))), scale=Scale(plain=False))


@situation(exporter="auto")
def extra_state_as_json():
    return two(lambda m, x: m.scale(m.last(m.b(m.a(x)))), scale=Scale(plain=True))


# Computed weights -----------------------------------------------------------------------------------------------------


def wrapped(wrap: Callable[[nn.Module], nn.Module]) -> Net:
    return two(lambda m, x: m.last(m.b(m.a(x).relu())), b=wrap(nn.Conv2d(8, 6, 1)))


@situation({"a": "remove_parametrizations", "b": "by WeightNorm", "last": OUTPUT})
def weight_norm_as_parametrization():
    return wrapped(parametrizations.weight_norm)


@situation({"a": "remove_weight_norm", "b": "by weight norm", "last": OUTPUT})
def weight_norm_of_old():
    return wrapped(weight_norm)


@situation({"a": "remove_parametrizations", "b": "by SpectralNorm", "last": OUTPUT}, exports=False)
def spectral_norm_as_parametrization():
    return wrapped(parametrizations.spectral_norm)


@situation({"a": "remove_spectral_norm", "b": "by spectral norm", "last": OUTPUT})
def spectral_norm_of_old():
    return wrapped(spectral_norm)


@situation({"a": "prune.remove", "b": "by a pruning mask", "last": OUTPUT})
def a_pruning_mask():
    return wrapped(lambda layer: prune.l1_unstructured(layer, "weight", 0.3))


class Doubled(nn.Module):
    """A parametrization of one's own."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


@situation({"a": "by Doubled", "b": "by Doubled", "last": OUTPUT})
def a_parametrization_of_ones_own():
    def wrap(layer: nn.Module) -> nn.Module:
        parametrize.register_parametrization(layer, "weight", Doubled())
        return layer

    return wrapped(wrap)


class Standardised(nn.Conv2d):
    """A convolution that standardises its weight."""

    def forward(self, x: Tensor) -> Tensor:
        spread, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / spread, self.bias)


@situation({"a": "Standardised computes its weight", "b": "Standardised computes", "last": OUTPUT})
def weight_standardisation():
    return two(lambda m, x: m.last(m.b(m.a(x).relu())), b=Standardised(8, 6, 1))


class Own(nn.Module):
    """A layer of one's own class, with a weight of a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel)


@situation({"a": "Own computes its weight", "b": "Own computes its weight", "last": OUTPUT})
def a_layer_of_ones_own_class():
    return two(lambda m, x: m.last(m.b(m.a(x).relu())), b=Own())


# Caches keyed by shapes -----------------------------------------------------------------------------------------------


@situation()
def einops_there_and_back():
    def run(m: Net, x: Tensor) -> Tensor:
        y = einops.rearrange(m.a(x), "b c h w -> b (h w) c")
        return m.last(m.b(einops.rearrange(y, "b (h w) c -> b c h w", h=6)))

    return two(run)


@situation()
def einops_of_two_groups_of_one_width():
    def run(m: Net, x: Tensor) -> Tensor:
        one, other = (einops.rearrange(layer(x), "b c h w -> b (h w) c") for layer in (m.a, m.c))
        one, other = (einops.rearrange(y, "b (h w) c -> b c h w", h=6) for y in (one, other))
        return m.last(m.b(one) + m.d(other))

    return two(run, c=nn.Conv2d(3, 8, 3), d=nn.Conv2d(8, 6, 1))


@functools.lru_cache
def split_of(channels: int) -> tuple[int, int]:
    return channels, 36


@situation()
def a_cache_by_the_number_of_channels():
    def run(m: Net, x: Tensor) -> Tensor:
        y = m.a(x)
        channels, _ = split_of(y.shape[1])
        return m.last(m.b(y.reshape(-1, channels, 6, 6)))

    return two(run)


@situation({"a": "", "last": OUTPUT}, exporter="auto")
def a_table_by_the_number_of_channels():
    return two(lambda m, x: m.last(m.b(m.a(x) * {8: 0.5}[m.a(x).shape[1]])))


# Inputs and outputs ---------------------------------------------------------------------------------------------------


def both(m: Net, rgb: Tensor, depth: Tensor) -> dict[str, Tensor]:
    return {"sum": m.last(m.b(m.a(rgb) + m.c(depth))), "rgb": m.second(m.a(rgb))}


def two_inputs() -> Net:
    return two(both, c=nn.Conv2d(1, 8, 3), second=nn.Conv2d(8, 4, 1))


_NAMED = {"rgb": X.clone(), "depth": X[:, :1].clone()}


@situation({"last": OUTPUT, "second": OUTPUT}, example=tuple(_NAMED.values()))
def several_inputs():
    return two_inputs()


@situation({"last": OUTPUT, "second": OUTPUT}, example=_NAMED, exporter="auto")
def inputs_by_name():
    return two_inputs()


@situation(example=(X * 40 + 120).clamp(0, 255).byte())
def bytes_as_input():
    return two(lambda m, x: m.last(m.b(m.a(x.float() / 255))))


@situation({"second": OUTPUT}, example=torch.arange(24).reshape(2, 12) % 10)
def whole_numbers_as_input():
    return Net(
        lambda m, x: m.second(m.first(m.table(x)).relu()),
        table=nn.Embedding(10, 8), first=nn.Linear(8, 6), second=nn.Linear(6, 4),
    )  # fmt: skip


@situation(exporter="auto")
def length_of_the_input():
    return two(lambda m, x: m.last(m.b(m.a(x))).reshape(len(x), -1))


@situation(example=X.double())
def double_precision():
    return two(lambda m, x: m.last(m.b(m.a(x).relu()))).double()


@situation(example=X.bfloat16(), macs=False)
def bfloat16():
    return two(lambda m, x: m.last(m.b(m.a(x).relu()))).bfloat16()


# Needlessly protected -------------------------------------------------------------------------------------------------


@situation()
def stacked_and_summed():
    return two(lambda m, x: m.last(m.b(torch.stack([m.a(x), m.c(x)]).sum(0))), c=nn.Conv2d(3, 8, 3))


@situation()
def group_norm_of_one_channel_each():
    return two(lambda m, x: m.last(m.b(m.norm(m.a(x)).relu())), norm=nn.GroupNorm(8, 8))


class Scaled(nn.Module):
    """A number for each channel, and a function of the module and its input."""

    def __init__(self, run: Callable) -> None:
        super().__init__()
        self.run, self.gamma, self.beta = run, nn.Parameter(torch.randn(8)), nn.Parameter(torch.randn(8))
        self.channels, self.shape, self.features = 8, (1, 8, 1, 1), torch.Size([8])

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def scaled(run: Callable) -> Net:
    return two(lambda m, x: m.last(m.b(m.scale(m.a(x)).relu())), scale=Scaled(run))


@situation()
def a_scale_viewed_by_its_own_shape():
    return scaled(lambda s, x: x * s.gamma.view(1, s.gamma.shape[0], 1, 1) + s.beta.view(1, s.beta.size(0), 1, 1))


@situation()
def a_scale_viewed_by_its_numel():
    return scaled(lambda s, x: x * s.gamma.reshape(1, s.gamma.numel(), 1, 1))


@situation()
def a_scale_viewed_by_the_shape_of_another():
    return scaled(lambda s, x: x * s.gamma.view(1, s.beta.shape[0], 1, 1) + s.beta.view(-1, 1, 1))


@situation()
def activations_viewed_by_the_shape_of_a_scale():
    def run(s: Scaled, x: Tensor) -> Tensor:
        rows = x.view(x.shape[0], s.gamma.shape[0], -1) * s.gamma[:, None]
        return rows.view(x.shape[0], s.gamma.shape[0], 6, 6)

    return scaled(run)


@situation()
def a_layer_norm_over_the_shape_of_its_weight():
    def run(s: Scaled, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), s.weight.shape, s.weight, s.bias).permute(0, 3, 1, 2)

    return two(lambda m, x: m.last(m.b(run(m.norm, m.a(x)).relu())), norm=nn.LayerNorm(8))


@situation({"a": "that of 'scale.gamma', which is not cut", "last": OUTPUT})
def activations_viewed_by_the_shape_of_a_tensor_of_another_use():
    return scaled(lambda s, x: (x.view(x.shape[0], s.gamma.shape[0], -1) * s.gamma.sum()).view(x.shape[0], -1, 6, 6))


@situation({"a": "enters a calculation", "last": OUTPUT})
def a_scale_viewed_by_its_own_shape_and_divided_by_it():
    return scaled(lambda s, x: x * s.gamma.view(1, s.gamma.shape[0], 1, 1) / s.gamma.shape[0])


# Numbers in attributes, which a cut writes anew -----------------------------------------------------------------------


@situation()
def a_scale_viewed_by_a_stored_shape():
    return scaled(lambda s, x: x * s.gamma.view(*s.shape) + s.beta.view(s.shape))


@situation()
def a_scale_viewed_by_a_stored_number():
    return scaled(lambda s, x: x * s.gamma.reshape(1, s.channels, 1, 1))


@situation()
def activations_viewed_by_a_stored_number():
    def run(s: Scaled, x: Tensor) -> Tensor:
        rows = x.view(x.shape[0], s.channels, -1) * s.gamma.view(s.features)[:, None]
        return rows.view(x.shape[0], -1, 6, 6)

    return scaled(run)


def checked(s: Scaled, x: Tensor) -> Tensor:
    assert x.shape[1] == s.channels
    return x * s.gamma.view(-1, 1, 1)


@situation()
def a_width_asserted_by_an_attribute():
    return scaled(checked)


@situation()
def a_width_that_must_not_differ_from_an_attribute():
    def run(s: Scaled, x: Tensor) -> Tensor:
        _, channels, _, _ = x.shape
        if s.channels != channels:
            raise ValueError(channels)
        return x * s.gamma.view(-1, 1, 1)

    return scaled(run)


@situation()
def a_block_asked_for_twice():
    return two(lambda m, x: m.last(m.b(m.scale(m.a(x)) + m.scale(m.c(x)))), scale=Scaled(checked), c=nn.Conv2d(3, 8, 3))


@situation({"a": "'scale.channels' also enters a calculation", "last": OUTPUT})
def an_attribute_asserted_and_calculated_with():
    return scaled(lambda s, x: checked(s, x) * s.channels**-0.5)


@situation({"a": "'scale.channels' also enters 'zeros'", "last": OUTPUT})
def an_attribute_asserted_and_for_another_tensor():
    return scaled(lambda s, x: checked(s, x) + torch.zeros(1, s.channels, 1, 1).sum())


@situation({"a": "'scale.channels' also enters a calculation", "last": OUTPUT})
def an_attribute_asserted_and_a_key():
    return scaled(lambda s, x: checked(s, x) * {8: 0.5}[s.channels])


@situation({"a": "number", "last": OUTPUT})
def an_attribute_asserted_and_its_inverse_taken():
    return scaled(lambda s, x: checked(s, x) * (1.0 / s.channels))


@situation({"a": "compared with a fixed one", "last": OUTPUT})
def a_width_asserted_by_a_number_in_the_code():
    def run(s: Scaled, x: Tensor) -> Tensor:
        assert x.shape[1] == 8
        return x * s.gamma.view(-1, 1, 1)

    return scaled(run)


@situation()
def widths_that_are_alike_decide():
    def run(m: Net, x: Tensor) -> Tensor:
        one, other = m.a(x), m.c(x)
        factor = 2.0 if one.shape[1] == other.shape[1] else 1.0
        return m.last(factor * m.b(one) + m.d(other))

    return two(run, c=nn.Conv2d(3, 8, 3), d=nn.Conv2d(8, 6, 1))


@situation()
def code_that_takes_plain_numbers_only():
    def run(s: Scaled, x: Tensor) -> Tensor:
        if type(s.channels) is not int:
            raise TypeError(s.channels)
        return x * s.gamma.view(-1, 1, 1)

    return scaled(run)


# Along channels -------------------------------------------------------------------------------------------------------


def gated_along_channels(m: Net, x: Tensor) -> Tensor:
    y = m.a(x)
    gate = m.across(y.mean((2, 3)).unsqueeze(1)).sigmoid()
    return m.last(m.b(y * gate.transpose(1, 2).unsqueeze(-1)))


@situation({"last": OUTPUT})
def a_convolution_across_channels():
    return two(gated_along_channels, across=nn.Conv1d(1, 1, 3, padding=1))


@situation({"a": "crosses its channels with others", "c": "crosses its channels with others", "last": OUTPUT})
def channels_times_channels():
    def run(m: Net, x: Tensor) -> Tensor:
        one, other = m.a(x).mean((2, 3)), m.c(x).mean((2, 3))
        return m.last(m.b((one[:, :, None].expand(-1, -1, 8) + other[:, None].expand(-1, 8, -1))[..., None]))

    return two(run, c=nn.Conv2d(3, 8, 3))
