"""Plans: rounding, budgets, JSON both ways, and errors."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fpgmlab as fl
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.plans import rounding
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import allowed_kept, kept_channels, lowest
from fpgmlab.plans.thresholds import floors, global_cut


@pytest.fixture
def scores(graph: fl.ChannelGraph) -> dict[str, torch.Tensor]:
    return fl.score(graph, "random", seed=3)


def make_group(blocks: int, per_block: int, unit: int = 1) -> ChannelGroup:
    marks = tuple(b for b in range(blocks) for _ in range(per_block)) if blocks > 1 else None
    return ChannelGroup("g", blocks * per_block, ("g",), ("h",), None, (), marks, unit=unit)


RATIOS = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 12), st.integers(1, 24), st.integers(1, 12), RATIOS, st.integers(1, 16), st.floats(0, 1))
def test_kept_is_allowed_nearest_and_never_none(
    blocks: int, per_block: int, unit: int, ratio: float, multiple: int, cap: float
):
    group = make_group(blocks, per_block, unit)
    kept = kept_channels(group, ratio, multiple, cap)
    assert 1 <= kept <= group.channels
    assert kept % group.step == 0
    assert kept == group.channels or kept * unit % multiple == 0
    fit = [k for k in range(group.least, group.channels) if k % group.step == 0 and k * unit % multiple == 0]
    assert list(allowed_kept(group, multiple)) == [*fit, group.channels]
    assert 1 - kept / group.channels <= cap + 1e-6
    wanted = (1 - ratio) * group.channels
    allowed = [k for k in allowed_kept(group, multiple) if k >= (1 - cap) * group.channels - 1e-9]
    assert abs(kept - wanted) <= min(abs(k - wanted) for k in allowed) + 1e-9


@given(st.integers(1, 6), st.integers(2, 20), st.data())
def test_the_lowest_scores_go_evenly_from_each_block(blocks: int, per_block: int, data: st.DataObject):
    group = make_group(blocks, per_block)
    values = data.draw(st.lists(st.floats(-5, 5, width=32), min_size=group.channels, max_size=group.channels))
    each = data.draw(st.integers(0, per_block - 1))
    score = torch.tensor(values, dtype=torch.float64)
    removed = lowest(group, {"g": score}, each * blocks)
    assert len(removed) == each * blocks
    for block in range(blocks):
        members = range(block * per_block, (block + 1) * per_block)
        gone = [values[c] for c in members if c in removed]
        left = [values[c] for c in members if c not in removed]
        assert len(gone) == each
        assert not gone or max(gone) <= min(left)


def test_a_ratio_of_three_tenths_of_ten_is_three():
    assert kept_channels(make_group(1, 10), 0.3) == 7
    assert kept_channels(make_group(1, 10), 0.25) == 8  # half rounds towards keeping
    assert kept_channels(make_group(1, 12), 0.4, multiple=8) == 8
    assert kept_channels(make_group(1, 6), 0.4, multiple=8) == 6
    assert kept_channels(make_group(1, 64), 0.99, multiple=8) == 8


def test_a_multiple_counts_channels_of_layers_not_heads():
    assert list(allowed_kept(make_group(1, 6, unit=32), 8)) == [1, 2, 3, 4, 5, 6]
    assert list(allowed_kept(make_group(1, 6, unit=12), 8)) == [2, 4, 6]
    assert list(allowed_kept(make_group(1, 6, unit=20), 64)) == [6]  # 16 heads would fit


def test_heads_that_no_block_fits_may_still_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounding, "channel_block", lambda: 16)
    assert list(allowed_kept(make_group(1, 6, unit=32), "runtime")) == [1, 2, 3, 4, 5, 6]
    assert list(allowed_kept(make_group(1, 6, unit=24), "runtime")) == [2, 4, 6]
    assert list(allowed_kept(make_group(1, 4, unit=6), "runtime")) == [2, 4]  # 12 channels: three quarters of a block


def test_uniform_removes_the_lowest_of_every_free_group(graph: fl.ChannelGraph, scores: dict):
    plan = Plan.uniform(graph, scores, 0.25, multiple=1)
    for name, group in graph.items():
        count = 0 if group.protected else group.channels // 4
        expected = torch.argsort(scores[name])[:count].tolist()
        assert plan.removed[name] == tuple(sorted(expected))
        assert plan.kept[name] == group.channels - count
        assert plan.ratios[name] == count / group.channels


@pytest.mark.parametrize("kind", ["macs", "params", "bytes"])
@pytest.mark.parametrize("budget", [0.9, 0.5, 0.1])
def test_a_budget_is_met_by_the_smallest_ratio(graph: fl.ChannelGraph, scores: dict, kind: str, budget: float):
    plan = Plan.uniform(graph, scores, **{kind: budget}, multiple=1)
    whole = getattr(graph.cost(), kind)
    assert getattr(graph.cost(plan), kind) <= budget * whole
    # Uniform plans change only where a group's ratio passes half a channel: look at all of them.
    edges = sorted({(k + 0.5) / group.channels for group in graph.values() for k in range(group.channels)})
    costs = [getattr(graph.cost(Plan.uniform(graph, scores, edge - 1e-5, multiple=1)), kind) for edge in edges]
    assert getattr(graph.cost(plan), kind) == max(c for c in costs if c <= budget * whole)


def test_by_depth_takes_thirds(graph: fl.ChannelGraph, scores: dict):
    plan = Plan.by_depth(graph, scores, shallow=0.0, middle=0.5, deep=0.25, multiple=1)
    free = [name for name, group in graph.items() if group.protected is None]
    assert [plan.ratios[name] for name in free] == [0.0] * 4 + [0.5] * 4 + [0.25] * 4


def test_protect_is_as_if_the_graph_was_traced_so(graph: fl.ChannelGraph, scores: dict):
    names = ["conv1", "layer2.1.conv1"]
    sealed = fl.trace(graph.model, graph.example_input, protect=names)
    for make in (
        lambda g, **o: Plan.uniform(g, scores, macs=0.6, **o, multiple=1),
        lambda g, **o: Plan.by_depth(g, scores, 0.2, 0.5, 0.3, max_ratio=0.4, **o, multiple=1),
        lambda g, **o: Plan.global_threshold(g, scores, 0.4, **o),
    ):
        assert make(graph, protect=names) == make(sealed) != make(graph)
        with pytest.raises(ValueError, match="protect: unknown group 'conv': did you mean 'conv1'"):
            make(graph, protect=["conv"])


@pytest.mark.parametrize("multiple", [4, 8, 16])
@pytest.mark.parametrize("macs", [0.8, 0.65, 0.5])
def test_of_groups_that_step_together_only_so_many_step_as_a_budget_asks_for(
    graph: fl.ChannelGraph, scores: dict, macs: float, multiple: int
):
    plan, budget = Plan.uniform(graph, scores, macs=macs, multiple=multiple), macs * graph.cost().macs
    assert graph.cost(plan).macs <= budget
    free = [name for name, group in graph.items() if group.protected is None]
    ratios = [Plan.uniform(graph, scores, r / 1000, multiple=multiple) for r in range(1000)]
    coarse = next(each for each in ratios if graph.cost(each).macs <= budget)
    finer = [each for each in ratios if graph.cost(each).macs > budget][-1]
    stepped = [name for name in free if coarse.removed[name] != finer.removed[name]]
    assert len(stepped) > 1  # or the test says nothing
    gone = [plan.removed[name] == coarse.removed[name] for name in stepped]
    assert gone == sorted(gone)  # the last ones of the network
    assert all(plan.removed[name] == finer.removed[name] for name, went in zip(stepped, gone, strict=True) if not went)
    assert all(plan.removed[name] == coarse.removed[name] for name in free if name not in stepped)
    last = stepped[gone.index(True)]
    assert graph.cost(Plan(plan.widths, {**plan.removed, last: finer.removed[last]})).macs > budget


@pytest.mark.parametrize("multiple", [3, 8])
def test_a_smaller_budget_removes_the_same_channels_and_more(graph: fl.ChannelGraph, scores: dict, multiple: int):
    budgets = [0.9, 0.8, 0.74, 0.7, 0.66, 0.6, 0.57, 0.52, 0.48]
    plans = [Plan.uniform(graph, scores, macs=budget, multiple=multiple) for budget in budgets]
    assert len(set(plans)) > 3
    for more, less in itertools.pairwise(plans):
        assert all(set(more.removed[name]) <= set(less.removed[name]) for name in graph)


def test_json_both_ways(graph: fl.ChannelGraph, scores: dict, tmp_path: Path):
    plan = Plan.uniform(graph, scores, 0.3, multiple=1)
    text = plan.to_json(tmp_path / "plan.json")
    assert (
        Plan.from_json(tmp_path / "plan.json")
        == plan
        == Plan.from_json(text)
        == Plan.from_json(str(tmp_path / "plan.json"))
    )
    assert hash(Plan.from_json(text)) == hash(plan)
    assert (tmp_path / "plan.json").read_text() == text
    assert Plan.uniform(graph, scores, 0.301, multiple=1) == plan
    assert Plan.uniform(graph, scores, 0.5, multiple=1) != plan


@pytest.mark.parametrize(
    "text",
    ["{}", "{", '{"format": "other/1", "groups": {}}', '{"format": "fpgmlab-plan/1", "groups": [1]}',
     '{"format": "fpgmlab-plan/1", "groups": {"a": {"channels": 4, "removed": [4]}}}',
     '{"format": "fpgmlab-plan/1", "groups": {"a": {"channels": 2, "removed": [0, 1]}}}'],
)  # fmt: skip
def test_what_is_not_a_plan_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a plan"):
        Plan.from_json(text)


@pytest.mark.parametrize("text", ["{}", "[1, 2]", '{"images": []}'])
def test_other_json_is_told_what_it_lacks(tmp_path: Path, text: str):
    (tmp_path / "val.json").write_text(text)
    with pytest.raises(ValueError, match=r"it has no entry 'format'\. Was it written by plan\.to_json\(path\)\?"):
        Plan.from_json(tmp_path / "val.json")


def test_frame_and_diff(graph: fl.ChannelGraph, scores: dict):
    plan = Plan.from_ratios(graph, scores, {"layer1.0.conv1": 0.5})
    frame = plan.frame(graph)
    assert list(frame.columns) == ["group", "channels", "kept", "ratio", "macs_share", "protected"]
    assert frame.set_index("group").loc["layer1.0.conv1", "kept"] == 8
    assert frame["ratio"].sum() == 0.5
    other = Plan.from_ratios(graph, scores, {"layer1.0.conv1": 0.25, "layer3.1.conv1": 0.5})
    diff = plan.diff(other).set_index("group")
    assert list(diff.index) == ["layer1.0.conv1", "layer3.1.conv1"]
    assert len(diff.loc["layer1.0.conv1", "only_here"]) == 4
    assert diff.loc["layer1.0.conv1", "only_there"] == ()
    assert plan.diff(plan).empty


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, math.nan, math.inf, "a", None])
def test_a_ratio_out_of_range_is_named(graph: fl.ChannelGraph, scores: dict, ratio: object):
    with pytest.raises(ValueError, match=r"0 <= ratio < 1"):
        Plan.from_ratios(graph, scores, {"conv1": ratio})
    if ratio is not None:
        with pytest.raises(ValueError, match=r"0 <= ratio < 1"):
            Plan.uniform(graph, scores, ratio, multiple=1)


def test_bad_requests_say_what_would_do(graph: fl.ChannelGraph, scores: dict):
    with pytest.raises(ValueError, match=r"unknown group 'layer1.0.conv'.*did you mean 'layer1.0.conv1'"):
        Plan.from_ratios(graph, scores, {"layer1.0.conv": 0.5})
    with pytest.raises(ValueError, match=r"'fc' is protected \(it is the model's output\)"):
        Plan.from_ratios(graph, scores, {"fc": 0.5})
    assert Plan.from_ratios(graph, scores, {"fc": 0.0}).kept["fc"] == 10
    with pytest.raises(ValueError, match="exactly one of ratio, macs, params, bytes"):
        Plan.uniform(graph, scores, 0.5, macs=0.5, multiple=1)
    with pytest.raises(ValueError, match="exactly one"):
        Plan.uniform(graph, scores, multiple=1)
    with pytest.raises(ValueError, match=r"macs=0.001 cannot be reached: at least 0\.\d+ of the macs remain"):
        Plan.uniform(graph, scores, macs=0.001, multiple=1)
    with pytest.raises(ValueError, match="0 < macs <= 1"):
        Plan.uniform(graph, scores, macs=0, multiple=1)
    with pytest.raises(ValueError, match="multiple must be a whole number"):
        Plan.uniform(graph, scores, 0.5, multiple=0)
    with pytest.raises(ValueError, match="max_ratio must lie between"):
        Plan.uniform(graph, scores, 0.5, max_ratio=2, multiple=1)
    with pytest.raises(ValueError, match="no scores for group 'conv1'"):
        Plan.uniform(graph, {}, 0.5, multiple=1)
    with pytest.raises(ValueError, match=r"must be \(16,\); got \(3,\)"):
        Plan.uniform(graph, scores | {"conv1": torch.zeros(3)}, 0.5, multiple=1)
    with pytest.raises(ValueError, match=r"'conv1' have 16 NaN"):
        Plan.uniform(graph, scores | {"conv1": torch.full((16,), torch.nan)}, 0.5, multiple=1)


def test_plans_check_themselves():
    with pytest.raises(ValueError, match="at least one must stay"):
        Plan({"a": 2}, {"a": (0, 1)})
    with pytest.raises(ValueError, match="distinct and 0 to 1"):
        Plan({"a": 2}, {"a": (0, 0)})
    with pytest.raises(ValueError, match="unknown group 'b'"):
        Plan({"a": 2}, {"b": (0,)})
    assert Plan({"a": 3}, {"a": [2, 0]}) == Plan({"a": 3}, {"a": (0, 2)})
    assert "removes 2 of 3 channels in 1 of 1 groups" in repr(Plan({"a": 3}, {"a": (0, 2)}))


# One threshold for the whole network -------------------------------------------------------------------------------


@pytest.fixture
def gammas(graph: fl.ChannelGraph) -> dict[str, torch.Tensor]:
    return fl.score(graph, "bn_gamma")


def by_hand(graph: fl.ChannelGraph, scores: dict, ratio: float) -> dict[str, set[int]]:
    free = [name for name, group in graph.items() if group.protected is None]
    pool = sorted((float(scores[name][c]), i, c) for i, name in enumerate(free) for c in range(len(scores[name])))
    removed = {name: set() for name in graph}
    for _, i, channel in pool[: math.floor(ratio * len(pool) + 1e-9)]:
        removed[free[i]].add(channel)
    return removed


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.25, 0.5])
def test_a_global_threshold_takes_the_lowest_wherever_they_are(graph: fl.ChannelGraph, gammas: dict, ratio: float):
    expected = by_hand(graph, gammas, ratio)
    assert all(len(removed) < graph[name].channels for name, removed in expected.items())
    plan = Plan.global_threshold(graph, gammas, ratio)
    assert {name: set(removed) for name, removed in plan.removed.items()} == expected
    cut = global_cut(graph, gammas, ratio)
    for name, below in cut.below.items():
        assert below == len(expected[name])
        assert sorted(gammas[name].tolist())[below] >= cut.value


@pytest.mark.parametrize("floor", [0.0, 0.2, 0.5, 1.0])
def test_no_group_falls_below_its_floor(graph: fl.ChannelGraph, gammas: dict, floor: float):
    plan = Plan.global_threshold(graph, gammas, 0.95, floor=floor)
    for name, kept in plan.kept.items():
        assert kept >= max(1, math.ceil(floor * graph[name].channels))
    if floor == 1:
        assert not any(plan.removed.values())


def test_the_cliff_is_where_the_first_group_meets_its_floor(graph: fl.ChannelGraph, gammas: dict):
    frame = floors(graph, gammas, 0.1)
    assert frame["ratio"].is_monotonic_increasing
    channels = sum(g.channels for g in graph.values() if g.protected is None)
    for row in frame.itertuples():
        free_fall = by_hand(graph, gammas, row.ratio)
        assert graph[row.group].channels - len(free_fall[row.group]) == row.least - 1
        before = by_hand(graph, gammas, row.ratio - 1 / channels)
        assert graph[row.group].channels - len(before[row.group]) == row.least
    below = Plan.global_threshold(graph, gammas, frame["ratio"].iloc[0] - 1 / channels, floor=0.1)
    assert {n: set(r) for n, r in below.removed.items()} == by_hand(
        graph, gammas, frame["ratio"].iloc[0] - 1 / channels
    )


@pytest.mark.parametrize("kind", ["macs", "params", "bytes"])
def test_a_global_threshold_meets_a_budget(graph: fl.ChannelGraph, gammas: dict, kind: str):
    plan = Plan.global_threshold(graph, gammas, **{kind: 0.6})
    assert getattr(graph.cost(plan), kind) <= 0.6 * getattr(graph.cost(), kind)
    with pytest.raises(ValueError, match=f"{kind}=0.01 cannot be reached: at least 0.5"):
        Plan.global_threshold(graph, gammas, floor=0.7, **{kind: 0.01})


def test_blocks_and_multiples_are_kept_under_a_threshold():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.Conv2d(16, 16, 3, groups=4),
        torch.nn.BatchNorm2d(16), torch.nn.Conv2d(16, 2, 1),
    )  # fmt: skip
    graph = fl.trace(model, torch.randn(1, 3, 12, 12))
    scores = fl.score(graph, "random", seed=1)
    for ratio in (0.3, 0.6, 0.99):
        plan = Plan.global_threshold(graph, scores, ratio)
        graph.check(plan)
        assert min(plan.kept.values()) >= 4 - 2  # one in each of four blocks; two classes at the end
        assert all(
            k % 8 == 0 for n, k in Plan.global_threshold(graph, scores, ratio, multiple=8).kept.items() if n != "4"
        )


def test_bad_thresholds_are_named(graph: fl.ChannelGraph, gammas: dict):
    with pytest.raises(ValueError, match="floor must be a share of a group's channels, 0 to 1; got 8"):
        Plan.global_threshold(graph, gammas, 0.5, floor=8)
    with pytest.raises(ValueError, match="give exactly one of ratio, macs, params, bytes; got none"):
        Plan.global_threshold(graph, gammas)
    with pytest.raises(ValueError, match="0 <= ratio < 1; got 1"):
        Plan.global_threshold(graph, gammas, 1)
    with pytest.raises(ValueError, match="no scores for group 'conv1'"):
        Plan.global_threshold(graph, {}, 0.5)
    sealed = fl.trace(graph.model, graph.example_input, protect=[""])
    with pytest.raises(ValueError, match="every group of the graph is protected"):
        Plan.global_threshold(sealed, gammas, 0.5)


@pytest.mark.parametrize("block", [8, 16])
def test_the_runtimes_multiple_is_blocks_quarters_of_them_and_any_few(monkeypatch: pytest.MonkeyPatch, block: int):
    monkeypatch.setattr(rounding, "channel_block", lambda: block)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 12, 1), nn.Conv2d(12, 16, 1), nn.Conv2d(16, 40, 1), nn.Conv2d(40, 2, 1),
    )  # fmt: skip
    graph = fl.trace(model.eval(), torch.randn(1, 3, 4, 4))
    kept = {name: list(rounding.allowed_kept(group, "runtime")) for name, group in graph.items()}
    assert kept["0"] == [1, 2, 3, 4]
    assert kept["1"] == ([8, 12] if block == 8 else [4, 8, 12])
    assert kept["2"] == ([8, 16] if block == 8 else [4, 8, 12, 16])
    assert kept["3"] == [*range(block, 40, block), 40]
    plan = fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.3)
    assert plan == fl.Plan.uniform(graph, fl.score(graph, "l1"), 0.3, multiple="runtime")
    assert plan.kept["3"] == min(kept["3"], key=lambda n: (abs(n - 28), -n))
    assert fl.Plan.from_ratios(graph, fl.score(graph, "l1"), {"3": 0.3}).kept["3"] == 28


def test_an_unknown_multiple_is_named(graph: fl.ChannelGraph, scores: dict):
    with pytest.raises(ValueError, match="multiple must be a whole number of at least 1, or 'runtime'; got 'blocks'"):
        Plan.uniform(graph, scores, 0.3, multiple="blocks")
