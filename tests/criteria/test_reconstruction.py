"""`Reconstruction` against lstsq on what the layers read, gathered by hooks and ``unfold``."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.criteria import Reconstruction
from fpgmlab.widgets import FilterExplorer
from tests.networks import Model, busy

PICTURES = torch.randn(48, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def build(forward: Callable, **layers: nn.Module) -> fl.ChannelGraph:
    return fl.trace(busy(Model(forward, layers)).eval(), PICTURES[:2])


def conv(inputs: int, outputs: int, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def head(m: nn.Module, x: Tensor) -> Tensor:
    return m.fc(x.mean((2, 3)))


CASES = {
    "a chain": (
        lambda m, x: head(m, m.b(m.a(x).relu())),
        {"a": conv(3, 6), "b": conv(6, 4), "fc": nn.Linear(4, 3)},
    ),
    "a residual stream of several readers": (
        lambda m, x: (lambda y: head(m, y + m.c(m.b(y).relu())))(m.bn(m.a(x)).relu()),
        {"a": conv(3, 6), "bn": nn.BatchNorm2d(6), "b": conv(6, 5), "c": conv(5, 6), "fc": nn.Linear(6, 3)},
    ),
    "a concatenation": (
        lambda m, x: head(m, m.c(torch.cat([m.a(x).relu(), m.b(x).tanh()], dim=1))),
        {"a": conv(3, 4), "b": conv(3, 5), "c": conv(9, 4), "fc": nn.Linear(4, 3)},
    ),
    "one channel at two places": (
        lambda m, x: (lambda y: head(m, m.b(torch.cat([y.relu(), y.neg().relu()], dim=1))))(m.a(x)),
        {"a": conv(3, 4), "b": conv(8, 4), "fc": nn.Linear(4, 3)},
    ),
    "a grouped convolution": (
        lambda m, x: head(m, m.b(m.a(x).relu())),
        {"a": conv(3, 8), "b": conv(8, 6, groups=2), "fc": nn.Linear(6, 3)},
    ),
    "flattened": (
        lambda m, x: m.fc(F.avg_pool2d(m.a(x).relu(), 4).flatten(1)),
        {"a": conv(3, 6), "fc": nn.Linear(24, 3)},
    ),
    "a depthwise convolution in between": (
        lambda m, x: head(m, m.b(m.d(m.a(x)).relu())),
        {"a": conv(3, 6), "d": conv(6, 6, groups=6), "b": nn.Conv2d(6, 4, 1), "fc": nn.Linear(4, 3)},
    ),
    "strided, dilated": (
        lambda m, x: head(m, m.b(m.a(x).relu())),
        {"a": conv(3, 5), "b": nn.Conv2d(5, 4, 2, stride=2, dilation=2), "fc": nn.Linear(4, 3)},
    ),
}


def rows_of(module: nn.Module, x: Tensor) -> list[np.ndarray]:
    """Return what each group of a layer reads, (equations, features), channels outside and taps inside."""
    if isinstance(module, nn.Linear):
        return [x.double().numpy()]
    read = F.unfold(x.double(), module.kernel_size, module.dilation, module.padding, module.stride)
    return [part.movedim(1, -1).flatten(0, 1).numpy() for part in read.chunk(module.groups, dim=1)]


def share_lost(module: nn.Module, layer: object, where: slice, x: Tensor, gone: set[int], ridge: float) -> float:
    """Return the error of the best weights without some channels, as a share of the variance of the outputs."""
    weights = module.weight.detach().double().flatten(1).chunk(getattr(module, "groups", 1))
    parts = np.split(layer.inputs - where.start, getattr(module, "groups", 1))
    lost = varies = 0.0
    for rows, weight, slots in zip(rows_of(module, x), weights, parts, strict=True):
        w = weight.numpy().T
        rows = rows - rows.mean(0)
        varies += np.square(rows @ w).sum()
        level = ridge * np.square(rows).sum(0).mean()
        held = np.concatenate([rows, level**0.5 * np.eye(rows.shape[1])])
        channel = np.repeat(slots, rows.shape[1] // len(slots))
        stay = ~np.isin(channel, list(gone))
        best = np.linalg.lstsq(held[:, stay], held @ w, rcond=None)[0]
        lost += np.square(held @ w - held[:, stay] @ best).sum()
    return lost / varies


@pytest.mark.parametrize("name", CASES)
def test_scores_are_the_shares_that_lstsq_cannot_make_up_for(name: str):
    forward, layers = CASES[name]
    graph = build(forward, **layers)
    read: dict[str, Tensor] = {}
    for n, module in graph.model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda _, args, out, n=n: read.update({n: args[0].detach()}))
    graph.model(PICTURES)
    modules = dict(graph.model.named_modules())
    scores = fl.score(graph, Reconstruction([PICTURES], samples=48))
    assert set(scores) == {n for n, group in graph.items() if group.protected is None}
    for group, found in scores.items():
        where = graph.channels_of(group)
        order, gone = found.argsort(stable=True).tolist(), set()
        for channel in order:
            gone.add(channel)
            lost = [
                share_lost(modules[layer.name], layer, where, read[layer.name], gone, 1e-3)
                for layer in graph.layers
                if layer.name in graph[group].consumers
            ]
            assert_allclose(float(found[channel]), sum(lost), rtol=1e-4)  # sums in float32 against float64


def test_each_projection_of_an_attention_is_a_reader():
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.embed(x)
        return m.fc(m.attention(x, x.tanh(), x.exp())[0].mean(1))

    layers = {"embed": nn.Linear(6, 12), "attention": nn.MultiheadAttention(12, 4, batch_first=True)}
    torch.manual_seed(0)
    tokens = torch.randn(48, 7, 6)
    model = busy(Model(forward, layers | {"fc": nn.Linear(12, 3)})).eval()
    graph = fl.trace(model, tokens[:2])
    read: dict[str, Tensor] = {}
    model.attention.register_forward_hook(lambda _, args, out: read.update(zip("qkv", args, strict=True)))
    with torch.no_grad():
        model(tokens)
        last = copy.deepcopy(model.attention)  # with nothing done after it: what its last projection reads
        last.out_proj.weight.copy_(torch.eye(12))
        last.out_proj.bias.zero_()
        read["o"] = last(*(read[key] for key in "qkv"))[0]
    weights = dict(zip("qkv", model.attention.in_proj_weight.chunk(3), strict=True))
    weights["o"] = model.attention.out_proj.weight
    found = fl.score(graph, Reconstruction([tokens], samples=48))["embed"]
    order = found.argsort().tolist()
    for count in range(1, 5):
        stay = np.repeat(~np.isin(np.arange(4), order[:count]), 3)
        lost = 0.0
        for key, weight in weights.items():
            rows, w = read[key].detach().double().flatten(0, 1).numpy(), weight.detach().double().numpy().T
            rows = rows - rows.mean(0)
            held = np.concatenate([rows, (1e-3 * np.square(rows).sum(0).mean()) ** 0.5 * np.eye(12)])
            best = np.linalg.lstsq(held[:, stay], held @ w, rcond=None)[0]
            lost += np.square(held @ w - held[:, stay] @ best).sum() / np.square(rows @ w).sum()
        assert_allclose(float(found[order[count - 1]]), lost, rtol=1e-4)


def test_few_pictures_are_split_by_position():
    """More features than pictures: a linear layer behind a flattening is as many readers as there are positions."""
    graph = build(CASES["flattened"][0], **CASES["flattened"][1])
    few = PICTURES[:20]
    scores = fl.score(graph, Reconstruction([few], samples=20))["a"]
    rows = F.avg_pool2d(graph.model.a(few).relu(), 4).flatten(2).detach().double()  # (pictures, channels, positions)
    weight = graph.model.fc.weight.detach().double().reshape(3, 6, 4)
    systems = []
    for position in range(4):
        x, w = rows[:, :, position].numpy(), weight[:, :, position].numpy().T
        x = x - x.mean(0)
        held = np.concatenate([x, (1e-3 * np.square(x).sum(0).mean()) ** 0.5 * np.eye(6)])
        systems.append((held, held @ w, np.square(x @ w).sum()))
    order = scores.argsort().tolist()
    for count in range(1, 7):
        stay = order[count:]
        lost = [y - h[:, stay] @ np.linalg.lstsq(h[:, stay], y, rcond=None)[0] for h, y, _ in systems]
        share = sum(np.square(each).sum() for each in lost) / sum(varies for *_, varies in systems)
        assert_allclose(float(scores[order[count - 1]]), share, rtol=1e-4)


@pytest.mark.parametrize("kind", ["conv", "transposed", "linear"])
def test_copies_and_mixtures_go_first(kind: str):
    reader = {"conv": conv(8, 5), "transposed": nn.ConvTranspose2d(8, 5, 3, stride=2), "linear": nn.Linear(8 * 4, 5)}
    forward = {
        "conv": lambda m, x: head(m, m.b(m.a(x))),
        "transposed": lambda m, x: head(m, m.b(m.a(x))),
        "linear": lambda m, x: m.fc(m.b(F.avg_pool2d(m.a(x), 4).flatten(1))),
    }
    graph = build(forward[kind], a=conv(3, 8), b=reader[kind], fc=nn.Linear(5, 3))
    with torch.no_grad():
        for values in graph.model.a.parameters():
            values[6] = values[2]
            values[4] = 0.5 * values[1] - 2 * values[3]
    scores = fl.score(graph, Reconstruction([PICTURES], samples=48, ridge=1e-6))["a"]
    first = scores.argsort()[:2].tolist()
    assert len({2, 6} & set(first)) == 1
    assert len({1, 3, 4} & set(first)) == 1
    assert float(scores[first].max()) < 1e-3 * float(scores.sort().values[2])


def test_blocks_lose_equally_many():
    graph = build(
        lambda m, x: head(m, m.c(m.b(m.a(x).relu()).relu())),
        a=conv(3, 12), b=conv(12, 12, groups=3), c=conv(12, 4), fc=nn.Linear(4, 3),
    )  # fmt: skip
    assert graph["a"].step == 3
    order = fl.score(graph, Reconstruction([PICTURES], samples=48))["a"].argsort().tolist()
    assert [sorted(graph["a"].blocks[i] for i in order[k : k + 3]) for k in range(0, 12, 3)] == [[0, 1, 2]] * 4


def test_one_weight_at_two_places_counts_once():
    shared = conv(6, 6)
    graph = build(lambda m, x: head(m, m.b(m.b(m.a(x).relu()).relu())), a=conv(3, 6), b=shared, fc=nn.Linear(6, 3))
    scores = fl.score(graph, Reconstruction([PICTURES], samples=48))
    assert scores["a"].shape == (6,)
    assert float(scores["a"].max()) == pytest.approx(2, abs=0.05)  # all of what `b` and `fc` give


def test_a_seed_says_all(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    before = {n: t.clone() for n, t in graph.model.state_dict().items()}
    names = ["conv1", "layer3.0.conv1"]
    one, two, other = (
        fl.score(graph, Reconstruction(fashion, samples=32, seed=seed), groups=names) for seed in (1, 1, 2)
    )
    assert list(one) == names
    assert all(torch.equal(one[n], two[n]) for n in names)
    assert not any(torch.equal(one[n], other[n]) for n in names)
    alone = fl.score(graph, Reconstruction(fashion, samples=32, seed=1), groups=names[1:])
    assert torch.equal(alone[names[1]], one[names[1]])
    assert all(torch.equal(t, before[n]) for n, t in graph.model.state_dict().items())


def test_memory_in_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch):
    forward, layers = CASES["a residual stream of several readers"]
    graph = build(forward, **layers)
    criterion = Reconstruction([PICTURES], samples=48)
    whole = fl.score(graph, criterion)
    monkeypatch.setattr("fpgmlab.criteria.reconstruction.MEMORY", 1)
    parts = fl.score(graph, criterion)
    assert all(torch.allclose(parts[n], whole[n]) for n in graph if n in whole)


def test_fewer_pictures_than_asked_for_are_told():
    graph = build(*CASES["a chain"][:1], **CASES["a chain"][1])
    with pytest.warns(UserWarning, match="only 48 of the 60 examples"):
        scores = fl.score(graph, Reconstruction([PICTURES], samples=60))
    assert bool(torch.isfinite(scores["a"]).all())
    with pytest.raises(ValueError, match="list gave no example"):
        fl.score(graph, Reconstruction([]))


def test_pictures_without_content_say_nothing():
    graph = build(lambda m, x: head(m, m.b(m.a(x))), a=nn.Conv2d(3, 6, 1), b=nn.Conv2d(6, 4, 1), fc=nn.Linear(4, 3))
    scores = fl.score(graph, Reconstruction([torch.zeros(48, 3, 8, 8)], samples=48))
    assert bool(torch.isfinite(scores["a"]).all())


def test_nan_is_told_with_the_layer():
    graph = build(*CASES["a chain"][:1], **CASES["a chain"][1])
    bad = PICTURES.clone()
    bad[5, 0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="layer 'b' reads or gives NaN or infinite values"):
        fl.score(graph, Reconstruction([bad], samples=48))


def test_layers_without_numbers_are_told():
    graph = build(*CASES["a chain"][:1], **CASES["a chain"][1])
    graph.model.b.to("meta")
    with pytest.raises(ValueError, match="layer 'b' has no numbers: it lies on the meta device"):
        fl.score(graph, Reconstruction([PICTURES], samples=48))


def test_readers_that_did_not_run_are_named():
    graph = build(
        lambda m, x: head(m, m.c(m.b(m.a(x))) if x.shape[-1] == 8 else m.c(x.new_ones(len(x), 5, 4, 4))),
        a=conv(3, 6), b=conv(6, 5), c=conv(5, 4), fc=nn.Linear(4, 3),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"cannot score group 'a': .* none of the layers .* \('b'\)"):
        fl.score(graph, Reconstruction([PICTURES[..., :6, :6]], samples=48), groups=["a"])


def test_groups_that_nothing_reads_are_left_out_or_told():
    graph = build(lambda m, x: m.d(m.a(x)).mean((1, 2, 3)), a=conv(3, 6), d=conv(6, 6, groups=6))
    free = [n for n, group in graph.items() if group.protected is None]
    criterion = Reconstruction([PICTURES], samples=48)
    if free:
        with pytest.raises(ValueError, match="does not apply to group 'a': no convolution or linear layer reads it"):
            fl.score(graph, criterion)
    assert fl.score(graph.protecting({"a": "told so"}), criterion) == {}


def test_it_stands_where_criteria_stand(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    criterion = Reconstruction(fashion, samples=16)
    assert criterion.label == "Reconstruction(samples=16)"
    assert Reconstruction(fashion).label == "Reconstruction"
    assert "fashion" not in repr(criterion).lower()
    frame = fl.compare_criteria(graph, [criterion, "fpgm"], ratio=0.5)
    assert set(frame["first"]) == {criterion.label}
    assert frame["overlap"].between(0, 1).all()
    explorer = FilterExplorer(graph, criterion=criterion, group="layer1.0.conv1", ratio=0.25)
    lowest = fl.score(graph, criterion, groups=["layer1.0.conv1"])["layer1.0.conv1"].argsort()[:4]
    assert explorer.removed == tuple(sorted(lowest.tolist()))
    explorer.group = "fc"
    assert "no convolution or linear layer reads it" in explorer.message
    with pytest.raises(ValueError, match="layer 'a' cannot be scored by Reconstruction.*: it needs a graph"):
        fl.compare_criteria({"a": torch.randn(8, 3)}, [criterion, "fpgm"])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"samples": 0}, "samples must be a whole number of at least 1; got 0"), ({"ridge": 0.0}, "above 0")],
)
def test_options_that_make_no_sense_are_told(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        Reconstruction([PICTURES], **options)


def test_by_name_it_asks_for_pictures(graph: fl.ChannelGraph):
    with pytest.raises(ValueError, match=r"needs pictures: pass fpgmlab\.criteria\.Reconstruction\(task\)"):
        fl.score(graph, "reconstruction")


def test_what_only_activations_are_multiplied_by_is_scored_by_its_norms():
    def attend(m, x):
        q, k, v = (layer(x).flatten(2) for layer in (m.q, m.k, m.v))
        return m.fc((v @ (q.mT @ k).softmax(-1)).mean(-1))

    graph = build(attend, q=conv(3, 6), k=conv(3, 6), v=conv(3, 5), fc=nn.Linear(5, 3))
    found = fl.score(graph, Reconstruction([PICTURES], samples=48))
    assert list(found) == ["q", "v"]
    assert torch.equal(found["q"], fl.score(graph, "l2")["q"])


def test_its_progress_is_shown_to_the_end(monkeypatch):
    from tqdm import auto

    bars = []

    class Bar(auto.tqdm):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            bars.append(self)

    monkeypatch.setattr(auto, "tqdm", Bar)
    graph = build(lambda m, x: head(m, m.b(m.a(x).relu())), a=conv(3, 6), b=conv(6, 4), fc=nn.Linear(4, 3))
    fl.score(graph, Reconstruction([PICTURES[:24], PICTURES[24:]], samples=48))
    (bar,) = bars
    assert bar.desc.startswith("score Reconstruction")
    assert bar.n == bar.total >= 3  # two batches, and each group
    fl.score(graph, "fpgm")
    assert len(bars) == 1
