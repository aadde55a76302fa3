"""What follows a layer is seen where it is so, and not where something else reads or writes over the value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.graph.following import Following
from fpgmlab.recovery.repairing import After, Looking
from fpgmlab.recovery.repairing.activations import Activation

RELU = Activation("relu")


class Two(nn.Module):
    """Two convolutions with batch norms, connected by a function of them and the input."""

    def __init__(self, run: Callable[[Two, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm_a, self.norm_b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def found(run: Callable[[Two, Tensor], Tensor]) -> dict[str, After]:
    model = Two(run).eval()
    looking = Looking(model, ["a", "b"])
    with torch.no_grad(), looking:
        model(torch.randn(2, 4, 3, 3))
    return dict(looking.found())


def test_a_chain():
    after = found(lambda m, x: m.norm_b(m.b(m.norm_a(m.a(x)).relu())))
    assert after == {"a": After("norm_a", activation=RELU), "b": After("norm_b")}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_block_that_ends_in_a_sum(in_place: bool):
    def run(m: Two, x: Tensor) -> Tensor:
        start = m.norm_a(m.a(x)).relu()
        out = m.norm_b(m.b(start))
        if in_place:
            out += start
            return F.relu(out, inplace=True)
        return F.relu(start + out)

    after = found(run)["b"]
    assert after.norm == "norm_b"
    assert after.activation == RELU
    assert after.total is not None
    assert after.other is not None
    assert after.other < after.total


def test_of_two_branches_the_later_one_makes_up_for_both():
    after = found(lambda m, x: (m.norm_a(m.a(x)) + m.norm_b(m.b(x))).relu())
    assert after["a"] == After("norm_a")  # the other one is not there yet
    assert after["b"].other is not None
    assert after["b"].activation == RELU


OTHERWISE = {
    "the norm is not the only reader": (lambda m, x: m.norm_a(y := m.a(x)) + y.mean(), After()),
    "one norm for two layers": (lambda m, x: m.norm_a(m.a(x)) * m.norm_a(m.b(x)), After()),
    "read beside its activation": (lambda m, x: (y := m.a(x)).relu() * y, After()),
    "written over before the norm": (lambda m, x: m.norm_a(m.a(x).mul_(2)), After()),
    "called twice": (lambda m, x: m.norm_a(m.a(m.a(x))), After()),
    "scaled before the norm": (lambda m, x: m.norm_a(m.a(x) * 2), After()),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_only_seems_to_follow(name: str):
    run, expected = OTHERWISE[name]
    assert found(run)["a"] == expected


def test_what_is_summed_must_be_as_it_was_before_the_layer():
    def run(m: Two, x: Tensor) -> Tensor:
        start = m.a(x)
        out = m.b(start)
        start.mul_(2)
        return out + start

    assert found(run)["b"].other is None


def test_a_sum_of_other_shape_or_with_a_factor_is_none():
    assert found(lambda m, x: m.b(m.a(x)) + m.a(x).mean((2, 3), keepdim=True))["b"].other is None
    assert found(lambda m, x: torch.add(m.b(y := m.a(x)), y, alpha=2))["b"].other is None


class Tokens(nn.Module):
    """A linear layer, and a function of it and of tokens (examples, positions, 4)."""

    def __init__(self, run: Callable[[Tokens, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.norm, self.run = nn.Linear(4, 4), nn.BatchNorm1d(4), run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x.exp())


VIEWS: dict[str, Callable[[Tokens, Tensor], Tensor]] = {
    "as it is": lambda m, x: x + m.a(x),
    "flat": lambda m, x: (m.a(x.flatten(0, 1)).view(x.shape) + x).relu(),
    "positions first": lambda m, x: x + m.a(x.transpose(0, 1)).transpose(0, 1),
    "flat, positions first": lambda m, x: (
        m.a(x.transpose(0, 1).flatten(0, 1)).view(5, 3, 4).transpose(0, 1) + x
    ).relu(),
    "in four": lambda m, x: x.unsqueeze(2).transpose(0, 1) + m.a(x).unflatten(1, (1, 5)).permute(2, 0, 1, 3),
}


@pytest.mark.parametrize("name", VIEWS)
def test_sums_of_other_views_are_told_in_the_layers_own_order(name: str):
    model, x = Tokens(VIEWS[name]).eval(), torch.randn(3, 5, 4)
    with torch.no_grad(), Looking(model, ["a"], x) as looking:
        model(x)
    after, tensors = looking.found()["a"], {}

    class Keeping(Following):
        def made(self, tensor: Tensor) -> None:
            tensors[self.number] = tensor

    read: list[Tensor] = []
    handle = model.a.register_forward_hook(lambda _, args, out: read.extend((args[0], out)))
    with torch.no_grad(), Keeping(model, ["a"], x):
        model(x)
    handle.remove()
    assert after.total is not None
    assert (after.activation is not None) == name.startswith("flat")
    total = after.in_order(tensors[after.total]).reshape(-1, 4)
    assert torch.equal(total, (read[0] + read[1]).reshape(-1, 4))  # the layer reads what it is summed with


OTHER_VIEWS = {
    "another one is read": lambda m, x: x + m.a(x.flatten(0, 1)).view(x.shape) * (m.a.weight.sum() + 0 * x),
    "itself is read too": lambda m, x: (y := m.a(x)).view(3, 5, 4) + x + y.sum(),
    "channels are not last": lambda m, x: m.a(x).transpose(1, 2) + x.transpose(1, 2),
    "a part": lambda m, x: m.a(x)[:, :2] + x[:, :2],
    "written over": lambda m, x: (m.a(x).mul_(2).view(3, 5, 4)) + x,
    "normalised": lambda m, x: m.norm(m.a(x).view(15, 4)).view(3, 5, 4) + x,
}


@pytest.mark.parametrize("name", OTHER_VIEWS)
def test_other_views_have_no_sum(name: str):
    model, x = Tokens(OTHER_VIEWS[name]).eval(), torch.randn(3, 5, 4)
    with torch.no_grad(), Looking(model, ["a"], x) as looking:
        model(x)
    assert looking.found()["a"] == After()


class ByWidth(nn.Module):
    """Does something more for each of its channels, so that functions are counted otherwise in a pruned network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        start = self.first(x).relu()
        for channel in range(self.second.weight.shape[1]):
            _ = x.sum() * channel
        return self.last(start + self.second(start)).mean((2, 3))


def test_sums_are_left_out_of_account_where_the_pruned_network_does_not_do_the_same():
    torch.manual_seed(0)
    model = ByWidth().eval()
    graph = fl.trace(model, torch.randn(1, 3, 4, 4))
    plan = fl.Plan.from_ratios(graph, fl.score(graph, "l2"), {"first": 0.5})
    batches = [torch.randn(32, 3, 4, 4) for _ in range(4)]
    small = fl.repair(graph, plan, batches, samples=128, progress=False)
    assert set(fl.repair_report(small)["target"]) == {"output"}
    x = torch.randn(64, 3, 4, 4)
    with torch.no_grad():
        errors = [float((network(x) - model(x)).square().mean()) for network in (small, fl.prune(graph, plan))]
    assert errors[0] < errors[1]


class Numbers(Following):
    """Keeps what is made, by number."""

    def __init__(self, model: nn.Module, inputs: Tensor) -> None:
        super().__init__(model, ["a", "b"], inputs)
        self.by_number: dict[int, Tensor] = {}

    def made(self, tensor: Tensor) -> None:
        if self.number >= 0:
            self.by_number[self.number] = tensor


def numbers(model: nn.Module, x: Tensor) -> dict[int, Tensor]:
    with torch.no_grad(), Numbers(model.eval(), x) as following:
        model(x)
    return following.by_number


def test_what_is_remembered_from_a_pass_before_changes_no_number():
    def run(m: Two, x: Tensor) -> Tensor:
        y = m.a((x - x.mean()) / x.std())
        if not hasattr(m, "remembered"):
            m.remembered = (m.norm_a.bias * 2)[torch.arange(4)].view(-1, 1, 1).exp()
        out = torch.zeros_like(m.remembered).repeat(2, 1, 3, 3)
        out[:, :2] = (y + m.remembered)[:, :2]
        return m.b(out) + out.abs()

    model, x = Two(run), torch.randn(2, 4, 3, 3)
    first, second = numbers(model, x), numbers(model, x)
    assert list(first) == list(second) == list(range(10))
    assert all(torch.equal(first[number], second[number]) for number in first)


def test_parts_of_a_split_are_told_apart():
    def run(m: Two, x: Tensor) -> Tensor:
        one, other = m.a(x).repeat(1, 2, 1, 1).exp().chunk(2, 1)
        return one * 3 + (m.b(other) + one)

    model, x = Two(run), torch.randn(2, 4, 3, 3)
    with torch.no_grad(), Looking(model.eval(), ["a", "b"], x) as looking:
        model(x)
    after, made = looking.found()["b"], numbers(model, x)
    with torch.no_grad():
        one = model.a(x).exp()
        assert torch.equal(made[after.other], one)
        assert torch.equal(made[after.total], model.b(one) + one)
