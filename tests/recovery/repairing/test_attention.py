"""The projections of torch's own attention are refitted: held to lstsq on what hooks saw, and on pictures apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.common.calling import call
from fpgmlab.graph.following import Following
from fpgmlab.graph.projections import PARTS
from fpgmlab.recovery.repairing import Options, Repairs
from tests.networks import Model, busy

HEADS, EACH = 4, 3
WIDTH = HEADS * EACH
TOKENS, WORDS = 7, 5


def around(attend: Callable[[Model, Tensor], Tensor], **options: bool) -> Model:
    """Return a network of tokens with an attention in a residual branch, which ``attend`` calls."""

    def run(m: Model, x: Tensor) -> Tensor:
        x = m.embed(x)
        return m.fc((x + attend(m, x.tanh())).mean(1))

    layers = {
        "embed": nn.Linear(WIDTH, WIDTH),
        "attention": nn.MultiheadAttention(WIDTH, HEADS, **options),
        "fc": nn.Linear(WIDTH, 5),
    }
    torch.manual_seed(0)
    return busy(Model(run, layers)).double().eval()


def itself(m: Model, x: Tensor) -> Tensor:
    return m.attention(x, x, x, need_weights=False)[0]


def tokens_first(m: Model, x: Tensor) -> Tensor:
    return itself(m, x.transpose(0, 1)).transpose(0, 1)


def words(m: Model, x: Tensor) -> Tensor:
    others = x.exp()[:, :WORDS]
    return m.attention(x, others, others)[0]


def all_different(m: Model, x: Tensor) -> Tensor:
    return m.attention(x, x.exp()[:, :WORDS], x.tanh()[:, 1 : WORDS + 1])[0]


WAYS = {
    "itself": (itself, {"batch_first": True}),
    "tokens first": (tokens_first, {}),
    "without bias": (itself, {"batch_first": True, "bias": False}),
    "zero attention": (itself, {"batch_first": True, "add_zero_attn": True}),
    "words": (words, {"batch_first": True}),
    "all different": (all_different, {"batch_first": True}),
}


def tokens(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)
    return torch.randn(count, TOKENS, WIDTH, generator=generator, dtype=torch.float64) @ mixed / WIDTH**0.5


def flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1, tensor.shape[-1]).numpy()


class Seen:
    """What an attention was called with, and what it gave, batch first."""

    def __init__(self, model: Model, x: Tensor) -> None:
        handle = model.attention.register_forward_hook(self._note)
        with torch.no_grad():
            model(x)
        handle.remove()
        if not model.attention.batch_first:
            self.read, self.made = [t.transpose(0, 1) for t in self.read], self.made.transpose(0, 1)

    def _note(self, module: nn.Module, args: tuple, made: tuple) -> None:
        self.read, self.made = list(args), made[0]


def before_the_last(model: Model, x: Tensor) -> np.ndarray:
    """Return what the last projection reads: what the attention gives when that is the identity."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.attention.out_proj.weight.copy_(torch.eye(len(other.attention.out_proj.weight)))
        if other.attention.out_proj.bias is not None:
            other.attention.out_proj.bias.zero_()
    return flat(Seen(other, x).made)


def best(read: np.ndarray, wanted: np.ndarray, offset: bool) -> np.ndarray:
    """Return what least squares gives."""
    rows = np.hstack([read, np.ones((len(read), 1))]) if offset else read
    return rows @ np.linalg.lstsq(rows, wanted, rcond=None)[0]


@pytest.mark.parametrize("targets", ["output", "sum"])
@pytest.mark.parametrize("name", WAYS)
def test_each_projection_is_the_least_squares_solution_on_what_it_reads(name: str, targets: str):
    attend, options = WAYS[name]
    whole, x = around(attend, **options), tokens(40, 1)
    graph = fl.trace(whole, x[:2])
    plan = fl.Plan({n: group.channels for n, group in graph.items()}, {"embed": (1, 2)})
    batches = [x[:24], x[24:]]
    small = fl.repair(graph, plan, batches, samples=40, ridge=0.0, targets=targets, progress=False)
    kept = [*range(EACH), *range(3 * EACH, WIDTH)]
    theirs, ours = Seen(whole, x), Seen(small, x)
    report = fl.repair_report(small).set_index("layer")
    offset = options.get("bias", True)
    for part, word in enumerate(PARTS):
        rows = slice(part * WIDTH, (part + 1) * WIDTH)
        wanted = flat(theirs.read[part]) @ whole.attention.in_proj_weight[rows].detach().numpy().T
        weight = small.attention.in_proj_weight.chunk(3)[part].detach().numpy()
        given = flat(ours.read[part]) @ weight.T
        if offset:
            wanted = wanted + whole.attention.in_proj_bias[rows].detach().numpy()
            given = given + small.attention.in_proj_bias.chunk(3)[part].detach().numpy()
        np.testing.assert_allclose(given, best(flat(ours.read[part]), wanted[:, kept], offset), atol=1e-7)
        row = report.loc[f"attention ({word})"]
        assert (row["target"], row["equations"]) == ("output", len(wanted))
        assert row["after"] < row["before"]
    wanted = flat(theirs.made)[:, kept]
    if targets == "sum":  # what is missing to the whole network's sum
        wanted = wanted + (whole.embed(x)[..., kept] - small.embed(x)).detach().reshape(wanted.shape).numpy()
    np.testing.assert_allclose(flat(ours.made), best(before_the_last(small, x), wanted, offset), atol=1e-7)
    assert report.loc["attention.out_proj", "target"] == targets


def test_an_attention_called_twice_is_fitted_to_both_calls():
    def twice(m: Model, x: Tensor) -> Tensor:
        return itself(m, itself(m, x).tanh())

    whole, x = around(twice, batch_first=True), tokens(64, 1)
    graph = fl.trace(whole, x[:2])
    plan = fl.Plan({n: group.channels for n, group in graph.items()}, {"embed": (1,)})
    small = fl.repair(graph, plan, [x], samples=64, progress=False)
    equations = fl.repair_report(small).set_index("layer")["equations"]
    assert equations["attention (keys)"] == 2 * equations["embed"]
    check_better(graph, plan, small, tokens(32, 2))


def check_better(graph: fl.ChannelGraph, plan: fl.Plan, small: nn.Module, held_out: object, most: float = 0.8) -> None:
    with torch.no_grad():
        wanted = call(graph.model, held_out)
        as_cut, repaired = (
            float((call(net, held_out) - wanted).norm()) for net in (fl.prune(graph, plan).eval(), small.eval())
        )
    assert repaired < most * as_cut


def vision() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=5
    )


def encoder(batch_first: bool, norm_first: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 20, batch_first=batch_first, norm_first=norm_first)
        layers = {
            "embed": nn.Linear(WIDTH, WIDTH),
            "encoder": nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            "fc": nn.Linear(WIDTH, 5),
        }
        if batch_first:
            return Model(lambda m, x: m.fc(m.encoder(m.embed(x)).mean(1)), layers)
        return Model(lambda m, x: m.fc(m.encoder(m.embed(x).transpose(0, 1)).mean(0)), layers)

    return build


def decoder() -> nn.Module:
    layers = {
        "embed": nn.Linear(WIDTH, WIDTH),
        "other": nn.Linear(WIDTH, WIDTH),
        "decoder": nn.TransformerDecoderLayer(WIDTH, HEADS, 20, batch_first=True),
        "fc": nn.Linear(WIDTH, 5),
    }
    return Model(lambda m, x: m.fc(m.decoder(m.embed(x), m.other(x[:, :WORDS]).relu()).mean(1)), layers)


NETWORKS = {
    "vision": vision,
    "decoder": decoder,
    **{f"encoder, {b=}, {n=}": encoder(b, n) for b in (False, True) for n in (False, True)},
}


def made(name: str) -> tuple[fl.ChannelGraph, fl.Plan, Callable[[int, int], Tensor]]:
    """Return a network, a plan that removes a fourth of everything, and what makes its inputs."""

    def inputs(count: int, seed: int) -> Tensor:
        if name != "vision":
            return tokens(count, seed).float()
        coarse = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
        return nn.functional.interpolate(coarse, (32, 32), mode="bilinear")

    torch.manual_seed(0)
    model = busy(NETWORKS[name]()).eval()
    graph = fl.trace(model, inputs(2, 0))
    return graph, fl.Plan.uniform(graph, fl.score(graph), 0.25, multiple=1), inputs


@pytest.mark.parametrize("name", NETWORKS)
def test_the_repaired_network_is_nearer_on_what_it_has_not_seen(name: str, tmp_path: Path):
    graph, plan, inputs = made(name)
    attentions = [layer.name for layer in graph.layers if layer.kind == "in_projection"]
    assert any(plan.removed[group] for group in graph if graph[group].unit_name == "head")
    batches = [inputs(96, 1), inputs(96, 2)]
    small = fl.repair(graph, plan, batches, samples=192, path=tmp_path / "repair", progress=False)
    report = fl.repair_report(small).set_index("layer")
    told = {f"{attention} ({part})" for attention in attentions for part in PARTS}
    assert told | {f"{attention}.out_proj" for attention in attentions} <= set(report.index)
    assert "never ran" not in set(report["note"])
    assert set(report.loc[[f"{attention}.out_proj" for attention in attentions], "target"]) == {"sum"}
    check_better(graph, plan, small, inputs(64, 3))
    again = fl.repair(graph, plan, batches, samples=192, path=tmp_path / "repair", progress=False)  # all from disk
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in small.state_dict().items())


def test_many_plans_are_repaired_as_each_alone():
    graph, plan, inputs = made("decoder")
    plans = [plan, fl.Plan.uniform(graph, fl.score(graph), 0.5, multiple=1), plan]
    batches = [inputs(64, 1)]
    with Repairs(graph, batches, Options(None, None, "active", 0, 4e9)) as repairs:
        together = [repairs.of(each) for each in plans]
    for each, small in zip(plans, together, strict=True):
        alone = fl.repair(graph, each, batches, samples=64, progress=False)
        assert all(torch.equal(tensor, alone.state_dict()[key]) for key, tensor in small.state_dict().items())


def test_a_repair_begins_with_the_projections_of_a_trained_network():
    graph, plan, inputs = made("vision")
    trained = busy(fl.prune(graph, plan))
    with Repairs(graph, [inputs(32, 1)], Options(None, None, "active", 0, 4e9), many=False) as repairs:
        begun = repairs.of(plan, start=trained, stop=lambda: True)
    for key in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
        name = f"encoder.layers.encoder_layer_1.self_attention.{key}"
        assert torch.equal(begun.state_dict()[name], trained.state_dict()[name])


def test_examples_are_held_out_whole_where_positions_come_first(monkeypatch: pytest.MonkeyPatch):
    from fpgmlab.recovery.repairing.targets import Drawing

    held: dict[int, set[int]] = {}
    draw = Drawing.draw

    def noted(self: Drawing, seen: object, pictures: int, first: int) -> object:
        places = draw(self, seen, pictures, first)
        if seen.input.shape[:2] == (TOKENS, pictures):
            held[len(held)] = {int(place) % pictures for place in places.places[places.used :]}
        return places

    monkeypatch.setattr(Drawing, "draw", noted)
    whole, x = around(tokens_first), tokens(16, 1)
    graph = fl.trace(whole, x[:2])
    fl.repair(graph, fl.Plan({n: g.channels for n, g in graph.items()}, {"embed": (1,)}), [x], samples=16)
    assert list(held.values()) == 4 * [{3, 7, 11, 15}]  # three projections in, one out


def test_following_leaves_the_modes_as_they_were():
    model = nn.MultiheadAttention(WIDTH, HEADS)
    with pytest.raises(AssertionError, match="embedding dimension"), Following(model, ["out_proj"]):
        model(*3 * [torch.randn(3, 2, WIDTH + 1)])
    assert torch.overrides._get_current_function_mode_stack() == []
