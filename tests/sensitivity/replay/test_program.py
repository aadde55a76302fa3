"""Recordings give what the model gives, and with masked inputs what the simulated model gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from fpgmlab.sensitivity.replay.first_look import first_look
from fpgmlab.sensitivity.replay.kernels import Activation, Convolution, Fused, Pointwise, WholeMap, best_kernel
from fpgmlab.sensitivity.replay.points import points
from fpgmlab.sensitivity.replay.recording import NotRecordableError, record
from fpgmlab.sensitivity.replay.replay import ReplayError
from fpgmlab.sensitivity.replay.runners import Programmed, Replaying, running
from tests.networks import NETWORKS, Network

aten = torch.ops.aten
REPLAYED = frozenset({"dropout", "padding_modes", "weight_norm", "dataclass_output"})  # torch cannot follow them


def check(graph: fl.ChannelGraph, inputs: object, dtype: torch.dtype = torch.float32) -> Programmed:
    """Compare a recording's outputs at each point with those of the simulated model."""
    runner = Programmed(graph, dtype)
    with torch.no_grad():
        for _ in range(2):  # the second time nothing is left of the first
            runner.record(inputs)
            for point in points(graph, fl.score(graph, "random"), (0.3, 0.7), 1):
                found = list(tensors_in(runner.run(point)))
                with fl.simulate(graph, point.plan) as model:
                    expected = list(tensors_in(call(model.eval(), tree_map_only(Tensor, Tensor.clone, inputs))))
                for ours, its in zip(found, expected, strict=True):
                    size = float(its.abs().max())
                    close = (
                        {"rtol": 1e-4, "atol": 1e-5 * size}
                        if dtype == torch.float32
                        else {"rtol": 0, "atol": 0.1 * size}
                    )
                    torch.testing.assert_close(ours.float(), its, equal_nan=True, **close)
    return runner


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_every_kind_of_connection(network: Network):
    model, inputs = network.build(), network.inputs()
    graph = fl.trace(model, inputs)
    if network.name in REPLAYED or graph.reductions:
        with pytest.raises(NotRecordableError):
            check(graph, inputs)
    else:
        check(graph, inputs)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("densenet121", "shufflenet_v2_x0_5")]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", *SLOW])
def test_real_networks(name: str):
    import torchvision

    model = getattr(torchvision.models, name)(weights=None).eval()
    free = [n for n, group in fl.trace(model, torch.randn(1, 3, 64, 64)).items() if group.protected is None]
    graph = fl.trace(model, torch.randn(1, 3, 64, 64), protect=[n for n in free if n not in free[:: len(free) // 6]])
    runner = check(graph, torch.randn(2, 3, 64, 64))
    batch_norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    left = sum("batch_norm" in str(step.call) for step in runner._current._steps)
    assert left == 0 if name == "resnet18" else left < batch_norms


def test_bfloat16(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    check(graph, next(fashion.val_batches(16))[0], torch.bfloat16)


def test_the_model_is_left_alone_and_not_run_again(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    before = {name: (vars(module).copy(), module.training) for name, module in graph.model.named_modules()}
    images = next(fashion.val_batches(4))[0]
    with torch.no_grad(), running(graph, "float32") as runner:
        whole = runner.record(images)
        with torch.no_grad():
            for parameter in graph.model.parameters():
                parameter.data = torch.full_like(parameter, torch.nan)  # what somebody else does meanwhile
        assert torch.equal(runner.record(images), whole)
        assert before == {name: (vars(module), module.training) for name, module in graph.model.named_modules()}


# What cannot be recorded ---------------------------------------------------------------------------------------------


class Counts(nn.Module):
    """Asks for a value."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x / max(1.0, float(x.detach().abs().max()))
        return self.second(self.first(x)).mean((2, 3))


def test_models_that_look_at_values_are_replayed(task: fl.tasks.Classification):
    torch.manual_seed(0)
    graph, images = fl.trace(Counts().eval(), task.example_input), next(task.val_batches(5))[0]
    with pytest.raises(NotRecordableError, match="Counts"):
        record(graph.model, images)
    with torch.no_grad(), running(graph, "float32") as runner:
        runner.record(images)
        assert isinstance(runner._runner, Replaying)
        (point,) = points(graph, fl.score(graph), (0.5,), 1)
        found = runner.run(point)
    with torch.no_grad(), fl.simulate(graph, point.plan) as model:
        torch.testing.assert_close(found, model(images))


class Moody(nn.Module):
    """Random, or of changing control flow, in eval mode."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.extra = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Conv2d(4, 4, 1)
        self.head, self.how, self.calls = nn.Linear(4, 3), how, [0]

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        x = self.layer(x)
        if self.how == "flow" and self.calls[0] % 2:
            x = self.extra(x)
        if self.how == "state":
            x = x * self.calls[0]
        x = F.dropout(x, 0.5) if self.how == "random" else x
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("random", "different outputs for the same inputs in eval mode: the model's own code is random"),
        ("state", "different outputs for the same inputs"),
        ("flow", "does not call the same modules twice: '(extra|head)', then '(extra|head)' in its place"),
    ],
)
def test_models_that_change_are_refused_with_the_place(how: str, words: str, task: fl.tasks.Classification):
    model = Moody(how).eval()
    with pytest.raises(ReplayError, match=words):
        first_look(model, task.example_input)
    graph = fl.trace(model, task.example_input)
    with pytest.raises(ReplayError, match=words):
        fl.sweep(graph, fl.score(graph), task, max_samples=4, progress=False)


def test_a_first_look_sees_all_outputs(task: fl.tasks.Classification):
    look = first_look(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten()), task.example_input)
    assert look.nbytes == (3 * 4 * 6 * 6 + look.outputs.numel()) * 4


# Kernels -------------------------------------------------------------------------------------------------------------

SHAPES = {  # filters, channels, kernel, size, stride, padding, dilation, groups
    "3x3": (8, 6, (3, 3), (9, 7), (1, 1), (1, 1), (1, 1), 1),
    "strided": (8, 6, (3, 3), (9, 7), (2, 2), (1, 1), (1, 1), 1),
    "dilated": (8, 6, (3, 3), (9, 9), (1, 1), (2, 2), (2, 2), 1),
    "depthwise": (6, 6, (3, 3), (8, 8), (1, 1), (1, 1), (1, 1), 6),
    "grouped": (8, 4, (3, 3), (8, 8), (1, 1), (1, 1), (1, 1), 2),
    "1x1": (8, 6, (1, 1), (5, 4), (1, 1), (0, 0), (1, 1), 1),
    "1x1 strided": (8, 6, (1, 1), (5, 4), (2, 2), (0, 0), (1, 1), 1),
    "1x1 padded": (8, 6, (1, 1), (5, 4), (1, 1), (1, 1), (1, 1), 1),
    "tiny map": (8, 6, (3, 3), (2, 2), (1, 1), (1, 1), (1, 1), 1),
    "tiny map, strided": (8, 6, (3, 3), (4, 4), (2, 2), (1, 1), (1, 1), 1),
    "tiny map, flat": (8, 6, (3, 3), (1, 3), (1, 1), (1, 1), (1, 1), 1),
    "1x7": (8, 6, (1, 7), (6, 6), (1, 1), (0, 3), (1, 1), 1),
}
AFTER = {
    "nothing": None,
    "relu": Activation(aten.relu.default),
    "silu": Activation(aten.silu.default),
    "relu6": Activation(aten.hardtanh.default, (0.0, 6.0)),
    "leaky": Activation(aten.leaky_relu.default, (0.1,)),
    "gelu": Activation(aten.gelu.default, (), (("approximate", "tanh"),)),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_are_torchs_convolution(shape: str, after: str):
    filters, channels, kernel, size, stride, padding, dilation, groups = SHAPES[shape]
    weight, bias = torch.randn(filters, channels // groups, *kernel), torch.randn(filters)
    x = torch.randn(3, channels, *size).contiguous(memory_format=torch.channels_last)
    plain = Convolution(stride, padding, dilation, groups, AFTER[after])
    best = best_kernel(weight, plain, tuple(x.shape))
    kinds = {"1x1": Pointwise, "1x1 strided": Pointwise} | dict.fromkeys([s for s in SHAPES if "tiny" in s], WholeMap)
    assert type(best) is kinds.get(shape, Fused)
    expected = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    for other in (None, torch.randn_like(expected)):
        if other is not None and after not in ("nothing", "relu"):
            continue
        for kernel_of in (plain, best):
            found = kernel_of(x, *kernel_of.pack(weight, bias, tuple(x.shape)), *(() if other is None else (other,)))
            y = expected if other is None else expected + other
            torch.testing.assert_close(found, y if AFTER[after] is None else AFTER[after](y), rtol=1e-4, atol=1e-5)
