"""Figures: data in, a figure with labelled axes out; exactly as wide as the venue asks; the same bytes twice."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from fpgmlab import figures
from fpgmlab.deployment import Roof
from fpgmlab.figures.files import drawn as drawn_as
from tests.figures.checks import WIDTHS, check_pdf, check_texts
from tests.figures.made import (
    agreement,
    clothes,
    compared,
    crowns,
    curves,
    distances,
    filters,
    gammas,
    layers,
    looked,
    plan_frame,
    practised,
    reached,
    recovered,
    repaired,
    scores,
    slimming,
    stages,
    staircase,
    stairs,
    taken_over,
    timed,
    tried,
)  # fmt: skip

ROOF = Roof("torch", 1, 1e11, (2**17, 2**28), (2e11, 1e10))
Make = Callable[[dict | None], Figure]
CLASS = pd.DataFrame({
    "visitor": ["Ada", "Grace", "$x$", "Mary"], "network": ["as cut", "repaired", "repaired", "fine-tuned"],
    "macs": [0.5, 0.45, 0.7, 0.9], "ms": [0.2, 0.15, 0.25, 0.3], "value": [0.4, 0.91, 0.93, 0.94],
})  # fmt: skip
WHOLE = {"macs": 1.0, "ms": 0.32, "value": 0.945}
FIGURES: dict[str, Make] = {
    "class plans": lambda s: figures.class_plans(CLASS, WHOLE, style=s),
    "class plans, MACs": lambda s: figures.class_plans(CLASS, WHOLE, cost="macs", share=0.3, style=s),
    "staircase": lambda s: figures.staircase(staircase(), style=s),
    "staircase, all fit": lambda s: figures.staircase(staircase(1), style=s),
    "distances, 16": lambda s: figures.distance_matrix(distances(16), (1, 2), style=s),
    "distances, 40": lambda s: figures.distance_matrix(distances(40), range(9), style=s),
    "distances, 300": lambda s: figures.distance_matrix(distances(300), range(99), "cosine distance", style=s),
    "map": lambda s: figures.filter_map(filters(), (0, 3), style=s),
    "map, 200": lambda s: figures.filter_map(filters(200), range(80), method="mds", style=s),
    "map, cosine": lambda s: figures.filter_map(filters(), (5,), distance="cosine", method="mds", style=s),
    "norm distributions": lambda s: figures.norm_distributions(figures.norms_and_distances(layers(9)), style=s),
    "norm requirements": lambda s: figures.norm_requirements(figures.norms_and_distances(layers(9)), style=s),
    "agreement": lambda s: figures.rank_agreement(agreement(9), style=s),
    "agreement, 60": lambda s: figures.rank_agreement(agreement(60), "kendall", style=s),
    "agreement, 28 pairs": lambda s: figures.rank_agreement(agreement(20, more=True), "spearman", style=s),
    "scores, 20": lambda s: figures.scores_by_layer(scores(20), style=s),
    "scores, 60": lambda s: figures.scores_by_layer(scores(60), "sum of distances", style=s),
    "score bars": lambda s: figures.score_bars(torch.arange(16.0), (0, 3), "sum of distances", style=s),
    "ridgeline": lambda s: figures.gamma_ridgeline(gammas(12), style=s),
    "ridgeline, 60": lambda s: figures.gamma_ridgeline(gammas(60, dead=0.9), style=s),
    "histogram": lambda s: figures.gamma_histogram(gammas(9, dead=0.9), 0.3, style=s),
    "histogram, no threshold": lambda s: figures.gamma_histogram(gammas(9), log=False, style=s),
    "summary": lambda s: figures.gamma_summary(gammas(30), style=s),
    "before and after": lambda s: figures.gamma_before_after(gammas(9), gammas(9, dead=0.9), style=s),
    "before and after, layers": lambda s: figures.gamma_before_after(gammas(9), gammas(9), by="layer", style=s),
    "slimming": lambda s: figures.slimming_curve(slimming(), {"plain": 0.4, "sparse": 0.7}, style=s),
    "sensitivity": lambda s: figures.sensitivity_curves(curves(12), style=s),
    "sensitivity, 30": lambda s: figures.sensitivity_curves(curves(30), "loss", style=s),
    "sensitivity, 60": lambda s: figures.sensitivity_curves(curves(60), style=s),
    "sensitivity, repaired": lambda s: figures.sensitivity_curves(
        curves(12), repaired=curves(12).assign(value=lambda frame: frame["value"] ** 0.2), style=s
    ),
    "sensitivity map": lambda s: figures.sensitivity_map(curves(12), style=s),
    "sensitivity map, 60": lambda s: figures.sensitivity_map(curves(60), "loss", style=s),
    "plan ratios": lambda s: figures.plan_ratios(dict.fromkeys(["uniform", "a", "b"], plan_frame()), style=s),
    "comparison": lambda s: figures.comparison(compared(8), panel="network", unpruned=0.94, style=s),
    "comparison, times": lambda s: figures.comparison(compared(3), "ms", style=s),
    "comparison, diagonal": lambda s: figures.comparison(compared(4).assign(low=0.3), diagonal=True, style=s),
    "plan": lambda s: figures.plan_bars(plan_frame(), style=s),
    "reach": lambda s: figures.reach(reached(20), style=s),
    "reach, 60": lambda s: figures.reach(reached(60, reasons=7), style=s),
    "recovery": lambda s: figures.recovery(stages(), style=s),
    "recovery, repaired": lambda s: figures.recovery(stages(("repaired", 0.929), ("distilled", 0.935)), style=s),
    "recovery, worse": lambda s: figures.recovery(stages(("repaired", 0.93), ("recovered", 0.93)), style=s),
    "points over seconds": lambda s: figures.points_over_seconds(recovered(7), style=s),
    "points over seconds, side by side": lambda s: figures.points_over_seconds(
        pd.concat([recovered(4).assign(network=name) for name in "ab"]), panel="network", style=s
    ),
    "taken over": lambda s: figures.take_over(taken_over(3), style=s),
    "taken over, cut off": lambda s: figures.take_over(taken_over(2), line="equal", cut_off=0.0, style=s),
    "repair errors": lambda s: figures.repair_errors(repaired(20), style=s),
    "repair errors, long names": lambda s: figures.repair_errors(
        repaired(20).assign(layer=lambda frame: "features.layers.of.blocks." + frame["layer"]), style=s
    ),
    "repair errors, 60": lambda s: figures.repair_errors(repaired(60, 0), ("output", "sum"), style=s),
    "repair over": lambda s: figures.repair_over(tried(), "pictures", "accuracy", "budget", reference=0.94, style=s),
    "receptive fields": lambda s: figures.receptive_fields(looked(3), {"a": 5, "network 1": 9}, style=s),
    "channel reach": lambda s: figures.channel_reach(looked(4), style=s),
    "MACs and time": lambda s: figures.macs_and_time(timed(7), style=s),
    "time over channels": lambda s: figures.time_over_channels(stairs(), style=s),
    "roofline": lambda s: figures.roofline(timed(7), 1e11, 4e10, style=s),
    "theory and practice": lambda s: figures.theory_and_practice(practised(12), style=s),
    "theory and practice, 60": lambda s: figures.theory_and_practice(practised(60), style=s),
    "layers under the roof": lambda s: figures.layers_under_roof(practised(12), ROOF, style=s),
    "tiles, grey": lambda s: figures.filter_tiles(filters(16, 1), torch.arange(16.0), (1, 2), style=s),
    "tiles, 128": lambda s: figures.filter_tiles(filters(128), torch.arange(128.0).square(), range(50), style=s),
    "tiles, colour": lambda s: figures.filter_tiles(filters(32, 3, 7), torch.arange(32.0), style=s),
    "pictures": clothes,
    "detections": lambda s: crowns(1, 5, s),
    "detections, 3 networks": lambda s: crowns(3, 2, s),
}
UNLABELLED = {"tiles, grey", "tiles, 128", "tiles, colour", "pictures", "detections", "detections, 3 networks"}
AGAIN = {"score bars", "tiles, colour", "map", "agreement", "detections"}  # are drawn twice; all in the slow suite
# The same figures of more: what they show must be legible.
LARGE = {
    *(
        "distances, 300",
        "map, 200",
        "agreement, 60",
        "scores, 60",
        "ridgeline, 60",
        "sensitivity, 30",
        "sensitivity, 60",
    ),
    *("sensitivity map, 60", "tiles, 128", "repair errors, 60"),
}


# The widest and the narrowest; all venues are in a test below.
ENDS = [
    pytest.param(name, venue, marks=pytest.mark.slow if venue is None and name in LARGE else ())
    for name in FIGURES
    for venue in (None, "cvpr")
]


@pytest.mark.parametrize(("name", "venue"), ENDS)
def test_every_figure_at_both_ends(name: str, venue: str | None, drawn: list[Text]):
    style = None if venue is None else figures.style(venue)
    before = dict(mpl.rcParams)
    figure = FIGURES[name](style)
    assert isinstance(figure, Figure)
    if venue is not None:
        assert figure.get_figwidth() == pytest.approx(WIDTHS[venue, "column"], abs=1e-6)
    assert 1 < figure.get_figheight() <= (11 if venue is None else 8.9), "a page has no room for more"
    if name not in UNLABELLED:
        for axis in (axis for axis in figure.axes if axis.axison):
            assert axis.get_xlabel() or axis.get_ylabel() or figure.get_supylabel()
        assert figure.axes[0].get_ylabel() or figure.get_supylabel()
        assert any(axis.get_xlabel() for axis in figure.axes) or figure.get_supxlabel()
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5 if venue is None else 6.0)
    if venue is not None:
        content = check_pdf(figure, WIDTHS[venue, "column"])
        if name in AGAIN:
            again = FIGURES[name](style)
            again.draw_without_rendering()  # as the other: it moves what is laid out
            assert drawn_as(again, "pdf") == content, "a second run gives other bytes"
    assert dict(mpl.rcParams) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_pdfs_at_both_ends(name: str):
    figure = FIGURES[name](None)
    check_pdf(figure, figure.get_figwidth())
    one, two = (FIGURES[name](figures.style("cvpr")) for _ in range(2))
    assert drawn_as(one, "pdf") == drawn_as(two, "pdf")


@pytest.mark.parametrize(("venue", "width"), WIDTHS)
@pytest.mark.parametrize("name", ["score bars", "tiles, colour", "agreement"])
def test_widths_are_exact(name: str, venue: str, width: str, drawn: list[Text]):
    figure = FIGURES[name](figures.style(venue, width))
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=6.0)
    assert abs(figure.get_figwidth() - WIDTHS[venue, width]) < 1e-6
    check_pdf(figure, WIDTHS[venue, width])


FEW: dict[str, Make] = {
    "one filter": lambda s: figures.distance_matrix(torch.zeros(1, 1), style=s),
    "one filter, removed": lambda s: figures.distance_matrix(torch.zeros(1, 1), (0,), style=s),
    "two filters": lambda s: figures.distance_matrix(distances(2), style=s),
    "identical filters": lambda s: figures.distance_matrix(np.zeros((9, 9)), (2,), style=s),
    "map of one": lambda s: figures.filter_map(filters(1), style=s),
    "map of two": lambda s: figures.filter_map(filters(2), (0, 1), style=s),
    "map of identical": lambda s: figures.filter_map(torch.ones(3, 4), style=s),
    "scaling of one": lambda s: figures.filter_map(filters(1), method="mds", style=s),
    "scaling of identical": lambda s: figures.filter_map(torch.ones(3, 4), method="mds", style=s),
    "norms of one": lambda s: figures.norm_distributions(figures.norms_and_distances({"a": filters(1)}), style=s),
    "norms of zeros": lambda s: figures.norm_distributions(
        figures.norms_and_distances({"a": torch.zeros(4, 2)}), style=s
    ),
    "requirements of one": lambda s: figures.norm_requirements(figures.norms_and_distances(layers(1)), style=s),
    "agreement of one": lambda s: figures.rank_agreement(agreement(1), style=s),
    "no agreement": lambda s: figures.rank_agreement(agreement(3).assign(overlap=np.nan), style=s),
    "nothing removed": lambda s: figures.scores_by_layer(scores(5).assign(removed=False), style=s),
    "all protected": lambda s: figures.scores_by_layer(scores(5, protected=5), style=s),
    "scores of zero": lambda s: figures.scores_by_layer(scores(2).assign(score=0.0), style=s),
    "one bar": lambda s: figures.score_bars(torch.ones(1), style=s),
    "all bars removed": lambda s: figures.score_bars(torch.ones(3), (0, 1, 2), style=s),
    "one tile": lambda s: figures.filter_tiles(filters(1), torch.zeros(1), style=s),
    "tiles of zeros": lambda s: figures.filter_tiles(torch.zeros(2, 1, 3, 3), torch.zeros(2), style=s),
    "tiles of 1 x 1": lambda s: figures.filter_tiles(filters(5, 8, 1), torch.zeros(5), (0,), style=s),
    "ridge of one": lambda s: figures.gamma_ridgeline(gammas(1, 1), style=s),
    "ridge of the dead": lambda s: figures.gamma_ridgeline(gammas(2).assign(gamma=0.0), style=s),
    "histogram of the dead": lambda s: figures.gamma_histogram(gammas(2).assign(gamma=0.0), 0.1, style=s),
    "endless threshold": lambda s: figures.gamma_histogram(gammas(2), float("inf"), style=s),
    "summary of one": lambda s: figures.gamma_summary(gammas(1, 1), style=s),
    "before, after, dead": lambda s: figures.gamma_before_after(
        gammas(2), gammas(2).assign(gamma=0.0), "layer", style=s
    ),
    "one ratio": lambda s: figures.slimming_curve(slimming()[:1].drop(columns="stage"), 0.5, style=s),
    "one point": lambda s: figures.take_over(taken_over(1, 1), style=s),
    "all cut off": lambda s: figures.take_over(taken_over(1), cut_off=9.0, style=s),
    "constant channels": lambda s: figures.take_over({"a": (torch.ones(9), torch.ones(9))}, style=s),
    "one layer": lambda s: figures.repair_errors(repaired(1, 0), style=s),
    "no error told": lambda s: figures.repair_errors(repaired(3, 3), style=s),
    "no error": lambda s: figures.repair_errors(repaired(3, 0).assign(before=0.0, after=0.0), style=s),
    "one repair": lambda s: figures.repair_over(tried()[:1], "pictures", "accuracy", style=s),
    "nothing is looked at": lambda s: figures.receptive_fields({"a": torch.zeros(9, 7)}, style=s),
    "one channel": lambda s: figures.channel_reach({"a": torch.ones(1, 1)}, style=s),
    "one layer timed": lambda s: figures.macs_and_time(timed(1), style=s),
    "one number of channels": lambda s: figures.time_over_channels(stairs()[:1], style=s),
    "one layer practised": lambda s: figures.theory_and_practice(practised(1), style=s),
    "one layer before and after": lambda s: figures.layers_under_roof(practised(1), ROOF, style=s),
    "one layer under the roof": lambda s: figures.roofline(timed(1), 1.0, 1e12, style=s),
    "one group": lambda s: figures.reach(reached(1), style=s),
    "all within reach": lambda s: figures.reach(reached(3, reasons=0), style=s),
    "one picture": lambda s: figures.pictures(filters(1, 3), ["a"], style=s),
}


@pytest.mark.parametrize("venue", ["screen", "cvpr"])
@pytest.mark.parametrize("name", FEW)
def test_small_and_degenerate_data(name: str, venue: str, drawn: list[Text]):
    figure = FEW[name](figures.style(venue))
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5)


# The data of the figures --------------------------------------------------------------------------------------------


def test_the_scaling_of_euclidean_distances_shows_the_same_plane():
    points = filters(12)
    one, two = (figures.filter_map(points, method=method).axes[0] for method in ("pca", "mds"))
    for a, b in zip(one.collections, two.collections, strict=True):
        np.testing.assert_allclose(a.get_offsets(), b.get_offsets(), atol=1e-6)
    for a, b in zip(one.lines, two.lines, strict=True):  # the medoid; the median, placed from its distances alone
        np.testing.assert_allclose(np.array(a.get_xydata()), np.array(b.get_xydata()), atol=1e-6)


def test_removed_filters_are_framed_in_red_and_come_in_order():
    axis = figures.filter_tiles(filters(4, 1), torch.tensor([3.0, 1.0, 2.0, 0.0]), removed=(3, 1)).axes[0]
    frames = [patch for patch in axis.patches if patch.get_gid()]
    assert [frame.get_gid() for frame in frames] == ["removed", "removed", "kept", "kept"]
    numbers = [text.get_text() for text in axis.texts if text.get_va() == "bottom"]
    assert numbers == ["3", "1", "2", "0"]


def test_the_threshold_splits_the_histogram():
    frame = gammas(6)
    figure = figures.gamma_histogram(frame, 0.5)
    share = (frame["gamma"].abs() < 0.5).mean()
    assert f"below 0.5: {share:.1%}" in [text.get_text() for text in figure.legends[0].get_texts()]
    axis = figure.axes[0]
    colours = {bar.get_x() < 0.5 - 1e-9: bar.get_facecolor() for bar in axis.patches}
    assert len(set(colours.values())) == 2
    assert sum(bar.get_height() for bar in axis.patches) == len(frame)


def test_what_is_taken_over_is_the_squared_correlation():
    panels = taken_over(3)
    axes = figures.take_over(panels).axes
    shares = [float(torch.corrcoef(torch.stack(pair))[0, 1]) ** 2 for pair in panels.values()]
    assert [axis.get_title(loc="left") for axis in axes] == [f"{share:.1%} explained" for share in shares]
    x, y = panels["channel 0 and others"]
    some = (x > 0) | (y > 0)
    axis = figures.take_over({"a": (x, y)}, line="equal", cut_off=0.0).axes[0]
    left = 1 - float((y - x)[some].square().sum() / (y[some] - y[some].mean()).square().sum())
    assert axis.get_title(loc="left") == f"{left:.1%} explained"


def test_what_is_within_reach_and_what_is_not_make_the_whole():
    frame = reached(12, reasons=6)
    figure = figures.reach(frame)
    whole, groups = figure.axes
    assert sum(bar.get_width() for bar in whole.patches) == pytest.approx(100)
    heights = np.array([[bar.get_height() for bar in bars] for bars in groups.containers])
    np.testing.assert_allclose(heights.sum(axis=0), 100 * frame["macs_share"])
    np.testing.assert_allclose(heights[:2].sum(axis=0), 100 * frame["reached"])
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[0] == "within reach: 45.0 %"
    assert told[2] == "rule a takes some by position: 5.6 %"  # by the module it was met in they are one
    assert told[-2:] == ["2 other reasons: 11.2 %", "in layers of no group: 10.0 %"]


def test_macs_and_times_are_shares_of_the_first_and_points_lie_where_they_reach():
    frame = timed(5)
    macs, time = figures.macs_and_time(frame).axes[0].lines[1:]
    np.testing.assert_allclose(macs.get_xdata(), frame["macs"] / frame["macs"].iloc[0])
    np.testing.assert_allclose(time.get_xdata(), frame["time"] / frame["time"].iloc[0])
    roof, flat, points = figures.roofline(frame, 1e11, 4e10).axes[0].lines
    np.testing.assert_allclose(points.get_ydata(), frame["macs"] / frame["ms"] / 1e6)
    for x, y in roof.get_xydata():
        assert y == pytest.approx(40 * x)
    assert set(flat.get_ydata()) == {100.0}


def test_what_is_lost_lies_upon_what_is_promised():
    frame = practised(6)
    layers, network = figures.theory_and_practice(frame).axes
    before, after, *lost = ([bar.get_height() for bar in bars] for bars in layers.containers)
    np.testing.assert_allclose(before, frame["ms_before"][:6])
    np.testing.assert_allclose(after, frame["ms"][:6])
    assert [np.flatnonzero(part).tolist() for part in lost] == [[1], [2], [3], [4]]
    assert lost[2][3] == pytest.approx(frame["ms"][3] - frame["promised_ms"][3])
    assert network.containers[1][0].get_height() == pytest.approx(frame["ms"][6])
    memory, caches = figures.layers_under_roof(frame, ROOF).axes[0].lines[:2]
    assert memory.get_xdata()[1] == pytest.approx(10)
    assert set(caches.get_ydata()) == {100.0}  # all that is drawn lies right of their edge
    points = frame.iloc[:6]
    after = figures.layers_under_roof(frame, ROOF).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(after[:, 1], points["macs"] / points["ms"] / 1e6)


def test_a_receptive_field_has_its_size_below_and_the_formulas_frame():
    field = torch.zeros(21, 21)
    field[8:13:2, 6:15:2] = 1.0
    axis = figures.receptive_fields({"a": field}, {"a": 9}).axes[0]
    assert axis.get_xlabel() == "5 by 9 pixels"
    assert axis.patches[0].get_bbox().bounds == (5.5, 5.5, 9.0, 9.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.filter_tiles(torch.zeros(4, 9), torch.zeros(3)), r"got \(4, 9\), \(3,\)"),
        (lambda: figures.filter_map(torch.zeros(4)), r"tensor \(filters, ...\).* got \(4,\)"),
        (lambda: figures.filter_map(filters(), method="tsne"), "one of 'pca', 'mds'; not 'tsne'"),
        (lambda: figures.rank_agreement(agreement(1), "pearson"), "one of 'overlap', 'spearman', 'kendall'; not 'pear"),
        (lambda: figures.rank_agreement(pd.DataFrame({"layer": ["a"]})), "missing columns: .'first', 'second'"),
        (lambda: figures.norm_distributions(figures.norms_and_distances(layers(2)), ["model.0.blok.conv0"]), "mean"),
        (lambda: figures.gamma_summary(pd.DataFrame({"layer": []})), "as from fpgmlab.gammas.*'gamma'"),
        (lambda: figures.gamma_before_after(gammas(2), gammas(3), "layer"), "the same layers"),
        (lambda: figures.gamma_before_after(gammas(2), gammas(2), "channel"), "one of 'network', 'layer'; not 'chan"),
        (lambda: figures.slimming_curve(slimming(), metric="loss"), "metric='loss'"),
        (lambda: figures.pictures(filters(2, 1), ["a"]), "1 labels"),
        (lambda: figures.take_over({}), "at least one panel"),
        (lambda: figures.take_over(taken_over(1), line="mean"), "one of 'fit', 'equal'; not 'mean'"),
        (lambda: figures.take_over({"a": (torch.ones(3), torch.ones(2))}), r"a: both .* got \(3,\) and \(2,\)"),
        (lambda: figures.repair_errors(pd.DataFrame({"layer": ["a"]})), "missing columns: .'before', 'after'"),
        (lambda: figures.repair_over(tried(), "picture", "accuracy"), "did you mean 'pictures'"),
        (lambda: figures.repair_over(tried().assign(pictures=0), "pictures", "accuracy"), "above 0"),
        (lambda: figures.receptive_fields({}), r"at least one panel, all of one size.* got \[\]"),
        (lambda: figures.channel_reach({"a": torch.ones(2, 2), "b": torch.ones(2, 3)}), r"got \[\(2, 2\), \(2, 3\)\]"),
        (lambda: figures.comparison(timed(3)), "columns 'method', 'macs', 'value'; missing: .'method', 'value'"),
        (lambda: figures.plan_ratios({}), "at least one plan"),
        (lambda: figures.reach(plan_frame()), r"no column 'macs_share', 'reached': pass graph.frame\(\)"),
        (lambda: figures.plan_ratios({"a": plan_frame(), "b": plan_frame()[1:]}), "those of 'b' are others"),
        (lambda: figures.macs_and_time(timed(3).assign(time=0.0)), "macs and time above 0"),
        (lambda: figures.time_over_channels(timed(3)), "missing columns: .'channels'"),
        (lambda: figures.theory_and_practice(timed(3)), r"whole network; missing columns: \['bytes_before', 'layer'"),
        (lambda: figures.roofline(timed(2), 0.0, 1.0), "all numbers be above 0.* peak 0.0"),
        (lambda: figures.detections(filters(2, 3), {}), "at least one network"),
        (lambda: figures.detections(filters(2, 1), {"a": []}), r"\(n, 3, height, width\).* got \(2, 1, 3, 3\)"),
        (lambda: figures.detections(filters(2, 3), {"a": []}), "a: detections of 0 pictures, but there are 2"),
        (lambda: figures.detections(filters(1, 3), {"a": [{}]}, torch.ones(1, 5)), r"\(1, boxes, 5\).*got \(1, 5\)"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        call()
