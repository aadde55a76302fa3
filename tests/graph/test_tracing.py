"""Tracing: every way to connect layers, against the really pruned network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.common.modules import tensors_in
from tests.checks import check_cost, check_same, random_plan, snapshot
from tests.networks import HEAD, NETWORKS, Model, Network, conv, pooled


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_network(network: Network):
    model, example = network.build(), network.inputs()
    graph = fl.trace(model, example)
    for name, reason in network.groups.items():
        protected = graph[name].protected
        assert (protected is None) if reason is None else (protected is not None and reason in protected), graph.frame()
    for name, channels in network.channels.items():
        assert graph[name].channels == channels
    for name, producers in network.producers.items():
        assert graph[name].producers == producers
    for name, group in graph.items():
        assert group.step == network.steps.get(name, 1) or group.protected

    functional = network.name in {"keywords_only", "weight_standardised", "scale_as_a_kernel"}
    check_cost(graph, None, model, functional)
    plan = random_plan(graph)
    assert fl.agreement(graph, plan) <= 1e-5
    small = fl.prune(graph, plan)
    check_cost(graph, plan, small, functional)

    small.train()
    sum(out.float().pow(2).sum() for out in tensors_in(call(small, example)) if out.requires_grad).backward()
    for name, parameter in small.named_parameters():
        assert parameter.grad is None or parameter.grad.shape == parameter.shape, name


# What the model's own code may do to tracing -------------------------------------------------------------------------


class Double(torch.autograd.Function):
    """A custom function that computes outside of what torch functions show."""

    @staticmethod
    def forward(context: object, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy())

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return 2 * gradient


def mean_added(x: Tensor) -> Tensor:
    return x.mean(dim=1, keepdim=True) + x


def script(code: Any) -> Any:
    """Compile with TorchScript, which is deprecated but still around in people's models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(code)


SCRIPTED = script(mean_added)


def simple(middle, **layers: nn.Module) -> Model:
    """Return a network with a function between two convolutions."""
    run = lambda m, x: m.fc(pooled(m.conv2(middle(m, m.conv1(x)))))  # noqa: E731
    return Model(run, {"conv1": conv(3, 8), "conv2": conv(8, 6), "fc": nn.Linear(6, 5), **layers}).eval()


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


SCRIPTS = {
    "function": lambda: simple(lambda m, x: SCRIPTED(x)),
    "function without gradients": lambda: simple(without_gradients),
    "module": lambda: simple(lambda m, x: m.odd(x), odd=script(nn.Sequential(nn.Softmax(1), nn.ReLU()))),
    "module with layers": lambda: simple(lambda m, x: m.odd(x), odd=script(nn.Sequential(conv(8, 4), conv(4, 8)))),
}


def without_gradients(model: Model, x: Tensor) -> Tensor:
    with torch.no_grad():
        return SCRIPTED(x.detach())


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_protect(name: str):
    graph = fl.trace(SCRIPTS[name](), X)
    assert "code that tracing cannot see" in graph["conv1"].protected
    assert graph["conv2"].protected is None
    assert fl.agreement(graph, random_plan(graph)) <= 1e-5


def test_a_model_that_cannot_be_copied_is_named():
    model = simple(lambda m, x: m.conv2.code(x))
    model.conv2.code = SCRIPTED
    graph = fl.trace(model, X)
    with pytest.raises(RuntimeError, match="Model cannot be copied: ScriptFunction"):
        fl.prune(graph, random_plan(graph))


def test_script_as_output_protects():
    graph = fl.trace(Model(lambda m, x: SCRIPTED(m.conv(x)), {"conv": conv(3, 8)}), X)
    assert "code that tracing cannot see" in graph["conv"].protected


def test_custom_function_is_never_guessed():
    graph = fl.trace(simple(lambda m, x: Double.apply(x)), X)
    assert "hides channels" in graph["conv1"].protected


@pytest.mark.parametrize(
    "leave", [lambda x: torch.from_numpy(x.detach().numpy()[:, ::-1].copy()), lambda x: torch.tensor(x.tolist())]
)
def test_values_that_leave_torch_protect(leave):
    graph = fl.trace(simple(lambda m, x: x * leave(x)), X)
    assert "hides channels" in graph["conv1"].protected
    assert graph["conv2"].protected is None


def test_value_in_a_branch_protects():
    graph = fl.trace(simple(lambda m, x: x if x.abs().amax((0, 2, 3)).sum() > 0 else -x), X)
    assert "becomes a plain number through 'bool'" in graph["conv1"].protected


def test_wrong_input_names_the_module():
    with pytest.raises(fl.TracingError, match=r"Model could not be traced.*\[\(2, 4, 8, 8\)\].*failed in 'conv1'"):
        fl.trace(simple(lambda m, x: x), torch.randn(2, 4, 8, 8))


def test_nothing_to_prune():
    with pytest.raises(ValueError, match="Softmax has no convolution or linear layer"):
        fl.trace(nn.Softmax(1), X)


def test_lazy_layers_are_named():
    with pytest.raises(fl.TracingError, match=r"'0\.weight' is lazy"):
        fl.trace(nn.Sequential(nn.LazyConv2d(4, 3)), X)


def test_inference_mode_around():
    model = simple(lambda m, x: x.relu())
    with torch.inference_mode():
        graph = fl.trace(model, X.clone())
        assert fl.agreement(graph, random_plan(graph)) <= 1e-5
    assert graph["conv1"].protected is None


def test_costs_count_attention_projections():
    network = next(n for n in NETWORKS if n.name == "multihead_attention")
    graph = fl.trace(network.build(), network.inputs())
    tokens, width = 7, 8
    assert graph.cost().macs == tokens * 6 * width + 4 * tokens * width**2 + width * 5


class Restless(nn.Module):
    """Writes to itself in every forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv(3, 8)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)
        self.register_buffer("steps", torch.zeros(()))
        self.fc.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.cache = self.norm(self.conv(x))
        return self.fc(pooled(self.cache))


@pytest.mark.parametrize("train", [False, True])
def test_model_is_left_as_it_is(train: bool):
    model = Restless().train(train)
    model.norm.eval()
    before = snapshot(model)
    graph = fl.trace(model, X)
    assert snapshot(model) == before
    fl.score(graph, "fpgm")
    small = fl.prune(graph, random_plan(graph))
    assert snapshot(model) == before
    assert small.training is train
    assert not small.norm.training
    assert not hasattr(small, "cache")


def test_failed_trace_leaves_the_model_as_it_is():
    model = Restless().train()
    before = snapshot(model)
    with pytest.raises(fl.TracingError):
        fl.trace(model, X[:, :2])
    assert snapshot(model) == before


def test_tied_weights_stay_tied():
    network = next(n for n in NETWORKS if n.name == "tied")
    graph = fl.trace(network.build(), network.inputs())
    small = fl.prune(graph, random_plan(graph))
    assert small.one.weight is small.two.weight


def test_a_frozen_norm_keeps_its_own_record(tmp_path: Path):
    network = next(n for n in NETWORKS if n.name == "frozen_norms")
    graph = fl.trace(network.build(), network.inputs())
    tensors = ("weight", "bias", "running_mean", "running_var")
    assert set(graph["conv1"].channelwise) == {f"norm1.{name}" for name in tensors}
    small = fl.prune(graph, random_plan(graph))
    for norm in (small.norm1, small.norm2):
        assert norm.num_features == len(norm.weight) == len(norm.running_var)
    fl.save(small, tmp_path / "small.safetensors")
    loaded = fl.load(tmp_path / "small.safetensors", network.build())
    check_same(loaded, small, graph.example_input)
    assert loaded.norm1.num_features == small.norm1.num_features < 8


def test_fixed_outputs_are_protected_by_every_container():
    for name in ("dict_output", "tuple_output", "dataclass_output"):
        network = next(n for n in NETWORKS if n.name == name)
        graph = fl.trace(network.build(), network.inputs())
        assert graph["conv2"].protected == "it is the model's output"
        assert set(network.groups) >= set(HEAD)


def test_a_float_divided_by_the_width_protects():
    # 1 / x.shape[1] is seen; Python divides a float by a subclass of int without asking it.
    graph = fl.trace(simple(lambda m, x: x * (1.0 / x.shape[1])), X)
    assert graph["conv1"].protected
