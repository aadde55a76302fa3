"""Figures of sweeps and plans: what they draw is what the frame says."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text

import fpgmlab as fl
from fpgmlab import figures
from fpgmlab.figures.files import drawn as drawn_as
from tests.figures.checks import WIDTHS, check_pdf, check_texts
from tests.figures.made import curves
from tests.sensitivity.curves.made import hand_made


def plans(methods: int = 3, low: bool = True) -> pd.DataFrame:
    rows = [(f"method {i}", macs, 0.9 - (i + 1) * 0.2 * (1 - macs) ** 2) for i in range(methods)
            for macs in (0.3, 0.5, 0.7)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["method", "macs", "value"])
    return frame.assign(low=frame["value"] - 0.01, high=frame["value"] + 0.02) if low else frame


def steps(count: int = 9) -> pd.DataFrame:
    random = np.random.default_rng(count)
    predicted = random.gamma(1, 0.02, count)
    measured = np.cumsum(predicted + random.gamma(0.3, 0.02, count))
    groups = [f"layer{i // 4}.{i}.conv1" for i in range(count)]
    return pd.DataFrame({"group": groups, "ratio": 0.5, "kept": 8, "metric": "accuracy", "predicted": predicted,
                         "predicted_so_far": np.cumsum(predicted), "measured_so_far": measured,
                         "low": measured - 0.01, "high": measured + 0.02, "samples": 100})  # fmt: skip


def blind(count: int) -> list[str]:
    return list(dict.fromkeys(curves(count)["group"]))[1:3]


Make = Callable[[dict | None], Figure]
FIGURES: dict[str, Make] = {
    "curves, 12": lambda s: figures.sensitivity_curves(curves(12), unmeasurable=blind(12), style=s),
    "map, 12": lambda s: figures.sensitivity_map(curves(12), unmeasurable=blind(12), style=s),
    "ranking, 3": lambda s: figures.sensitivity_ranking(hand_made(), unmeasurable=["flat"], style=s),
    "ranking, 37": lambda s: figures.sensitivity_ranking(curves(37), style=s),
    "ranking at a ratio": lambda s: figures.sensitivity_ranking(curves(12), "loss", ratio=0.45, style=s),
    "tradeoff": lambda s: figures.tradeoff(plans(), {"macs": 1.0, "value": 0.9}, metric="accuracy", style=s),
    "tradeoff, 8": lambda s: figures.tradeoff(plans(8, low=False).assign(macs=lambda f: f["macs"] * 4e7), style=s),
    "additivity": lambda s: figures.additivity(steps(), style=s),
    "additivity, 40": lambda s: figures.additivity(steps(40).assign(metric="loss"), style=s),
}
FEW: dict[str, Make] = {
    "one group": lambda s: figures.sensitivity_curves(curves(1), style=s),
    "none measurable": lambda s: figures.sensitivity_map(curves(1), unmeasurable=set(curves(1)["group"]), style=s),
    "no curve": lambda s: figures.sensitivity_curves(curves(2), unmeasurable=set(curves(2)["group"]), style=s),
    "only the unpruned": lambda s: figures.sensitivity_map(curves(2)[lambda f: f["ratio"] == 0], style=s),
    "endless intervals": lambda s: figures.sensitivity_curves(
        curves(3).assign(low=-np.inf, high=np.inf), "loss", style=s
    ),
    "ranking of one": lambda s: figures.sensitivity_ranking(curves(1), style=s),
    "ranking of none": lambda s: figures.sensitivity_ranking(curves(2), unmeasurable=blind(2), ratio=0.5, style=s),
    "endless ranking": lambda s: figures.sensitivity_ranking(
        curves(3).assign(low=-np.inf, high=np.inf), ratio=0.3, style=s
    ),
    "endless plans": lambda s: figures.tradeoff(
        plans(2).assign(low=lambda f: f["low"].where(f["macs"] != 0.5, -np.inf), high=np.inf), style=s
    ),
    "one plan": lambda s: figures.tradeoff(plans(1)[:1], style=s),
    "equal plans": lambda s: figures.tradeoff(plans(2).assign(macs=0.5, value=0.5), style=s),
    "one step": lambda s: figures.additivity(steps(1), style=s),
    "no change": lambda s: figures.additivity(
        steps(3).assign(predicted_so_far=0.0, measured_so_far=0.0, low=0.0, high=0.0), style=s
    ),
}


@pytest.mark.parametrize("venue", [None, "cvpr"])
@pytest.mark.parametrize("name", [*FIGURES, *FEW])
def test_every_figure_at_both_ends(name: str, venue: str | None, drawn: list[Text]):
    before = dict(mpl.rcParams)
    figure = (FIGURES | FEW)[name](None if venue is None else figures.style(venue))
    assert dict(mpl.rcParams) == before
    assert 1 < figure.get_figheight() <= (11 if venue is None else 8.9), "a page has no room for more"
    first = figure.axes[0]
    assert first.get_ylabel() or figure.get_supylabel()
    assert first.get_xlabel() or figure.get_supxlabel()
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5 if venue is None else 6.0)
    if name in FIGURES and venue is not None:
        check_pdf(figure, 3.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_pdf_of_the_default_style(name: str):
    figure = FIGURES[name](None)
    check_pdf(figure, figure.get_figwidth())


def test_fifty_groups_fit_a_page(drawn: list[Text]):
    figure = figures.sensitivity_curves(curves(50), "loss", style=figures.style("cvpr"))
    assert figure.get_figheight() <= 8.9
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=6.0)


@pytest.mark.parametrize(("venue", "width"), WIDTHS)
@pytest.mark.parametrize("name", ["ranking, 3", "tradeoff", "additivity"])
def test_widths_are_exact_and_bytes_the_same(name: str, venue: str, width: str):
    one, two = (FIGURES[name](figures.style(venue, width)) for _ in range(2))
    assert one.get_figwidth() == pytest.approx(WIDTHS[venue, width], abs=1e-6)
    assert drawn_as(one, "pdf") == drawn_as(two, "pdf")


# Curves and map -----------------------------------------------------------------------------------------------------


def test_each_panel_has_its_curve_its_band_and_the_unpruned_level():
    frame = curves(5)
    figure = figures.sensitivity_curves(frame.sample(frac=1, random_state=0).sort_values("group"), "loss")
    for axis, (_, mine) in zip(figure.axes, frame[frame["metric"] == "loss"].groupby("group"), strict=False):
        level, curve = axis.lines
        np.testing.assert_array_equal(level.get_ydata(), mine["value"].iloc[0])
        np.testing.assert_array_equal(curve.get_xydata(), mine[["ratio", "value"]])
        corners = axis.collections[0].get_paths()[0].vertices
        for edge in ("low", "high"):
            assert set(zip(mine["ratio"], mine[edge], strict=True)) <= set(map(tuple, corners))


def test_what_is_not_measurable_is_hatched_and_has_no_curve():
    frame = curves(4)
    names = list(dict.fromkeys(frame["group"]))
    figure = figures.sensitivity_curves(frame, unmeasurable=names[1:2])
    for axis, name in zip(figure.axes, names, strict=False):
        assert len(axis.lines) == (1 if name == names[1] else 2)
        assert [patch.get_hatch() for patch in axis.patches] == (["////"] if name == names[1] else [])
        assert ("not\nmeasurable" in [text.get_text() for text in axis.texts]) == (name == names[1])
    heat = figures.sensitivity_map(frame, unmeasurable=names[1:2]).axes[0]
    assert sum(isinstance(part, QuadMesh) for part in heat.collections) == 3
    widths = [(patch.get_y(), patch.get_width()) for patch in heat.patches if patch.get_hatch() == "////"]
    assert [row for row, width in widths if width == 1] == [0.5], "not only where nothing was measured"


def cells(mesh: QuadMesh) -> np.ndarray:
    """Return the cells of a row of the map: where each begins, where it ends, what it shows; (n, 3)."""
    edges = mesh.get_coordinates()[0, :, 0]
    shown = np.ma.masked_invalid(mesh.get_array()).ravel()
    return np.column_stack([edges[:-1], edges[1:], shown.filled(np.nan)])[~np.ma.getmaskarray(shown)]


def test_the_maps_cells_are_drops_and_dots_are_doubts():
    frame = hand_made()
    figure = figures.sensitivity_map(frame)
    axis = figure.axes[0]
    meshes = [part for part in axis.collections if isinstance(part, QuadMesh)]
    expected = {"flat": (0, 0, 0, 0.005), "steep": (0, 0.1, 0.4, 0.8), "middle": (0, 0, 0.02, 0.3)}
    for mesh, drops in zip(meshes, expected.values(), strict=True):
        np.testing.assert_allclose(cells(mesh)[:, 2], drops, atol=1e-12)
        assert (mesh.norm.vmin, mesh.norm.vmax) == (0, pytest.approx(0.8))
    # Intervals are from 0.004 better to 0.03 worse: they hold the unpruned value where the drop is below 0.004.
    doubts = [(0.2, 0), (0.5, 0), (0.2, 2)]
    np.testing.assert_allclose(sorted(axis.lines[0].get_xydata().tolist(), key=lambda p: p[1]), doubts)
    for i, mesh in enumerate(meshes):  # measured at 0, 20, 50 and 80 %
        assert cells(mesh)[-1, 1] == pytest.approx(0.8)
        last = [patch for patch in axis.patches if patch.get_y() == i - 0.5][-1]
        assert (last.get_hatch(), last.get_x(), last.get_x() + last.get_width()) == ("////", pytest.approx(0.8), 1)
    assert "not measured" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize(
    ("channels", "kept", "measured"),
    [
        (64, [64, 32], [(0, 0.075), (0.425, 0.5)]),  # nothing is known in between
        (64, [64, 58, 51], [(0, 3 / 64), (3 / 64, 9.5 / 64), (9.5 / 64, 13 / 64)]),  # tenths meet
        (4, [4, 3, 2], [(0, 1 / 8), (1 / 8, 3 / 8), (3 / 8, 1 / 2)]),  # all that can be cut was measured
        (64, [64], [(0, 0.075)]),
    ],
)
def test_the_map_is_hatched_where_nothing_was_measured(channels: int, kept: list[int], measured: list[tuple]):
    frame = pd.DataFrame({"group": "conv1", "ratio": [1 - k / channels for k in kept], "kept": kept, "samples": 100,
                          "metric": "accuracy", "value": np.linspace(0.9, 0.1, len(kept))})  # fmt: skip
    axis = figures.sensitivity_map(frame.assign(low=frame["value"] - 0.01, high=frame["value"] + 0.01)).axes[0]
    np.testing.assert_allclose(cells(axis.collections[0])[:, :2], measured, atol=1e-12)
    ends = sorted([*measured, *((p.get_x(), p.get_x() + p.get_width()) for p in axis.patches)])
    assert all(patch.get_hatch() == "////" for patch in axis.patches)
    np.testing.assert_allclose([ends[0][0], *(end for _, end in ends)], [*(low for low, _ in ends), 1.0], atol=1e-12)


def test_an_interval_without_an_end_fills_its_panel():
    frame = hand_made()
    endless = frame["group"].eq("steep") & frame["ratio"].gt(0)
    figure = figures.sensitivity_curves(frame.assign(low=frame["low"].mask(endless, -np.inf),
                                                     high=frame["high"].mask(endless, np.inf)))  # fmt: skip
    for axis, name in zip(figure.axes, ("flat", "steep", "middle"), strict=False):
        heights = axis.collections[0].get_paths()[0].vertices[:, 1]
        assert (heights.min() <= axis.get_ylim()[0], heights.max() >= axis.get_ylim()[1]) == (name == "steep",) * 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "95 % interval, not known where as high as the panel" in legend


def test_better_is_no_drop():
    frame = hand_made().assign(metric="loss")  # falling values: the loss gets better
    figure = figures.sensitivity_map(frame)
    for mesh in figure.axes[0].collections:
        assert np.nanmax(np.ma.filled(mesh.get_array(), np.nan)) == 0
    assert figure.axes[1].get_ylabel() == "rise of loss"


def test_what_is_surely_better_has_a_plus():
    frame = hand_made().assign(metric="loss")
    better = frame["high"] < frame.groupby("group")["value"].transform("first")
    assert 0 < better.sum() < len(frame)
    figure = figures.sensitivity_map(frame)
    dots, gains = figure.axes[0].lines
    assert len(gains.get_xydata()) == better.sum()
    assert gains.get_xydata()[:, 0].max() <= 1
    assert not set(map(tuple, dots.get_xydata())) & set(map(tuple, gains.get_xydata()))
    assert "better" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "better" not in [t.get_text() for t in figures.sensitivity_map(hand_made()).legends[0].get_texts()]


@pytest.mark.parametrize("top", [0.84, 3.651, 0.0091, 1.0, 0.06])
def test_the_scale_says_how_much_the_darkest_cell_is(top: float):
    frame = hand_made()
    for column in ("value", "low", "high"):
        frame[column] *= top / 0.8
    scale = figures.sensitivity_map(frame).axes[1]
    assert 0.8 * top <= max(tick for tick in scale.get_yticks() if tick <= 1.001 * top)
    assert scale.get_ylim()[1] == pytest.approx(top)


# Ranking ------------------------------------------------------------------------------------------------------------


def test_the_ranking_draws_its_table():
    frame = curves(9)
    names = list(dict.fromkeys(frame["group"]))
    table = figures.ranking_table(frame, unmeasurable=names[:2])
    axis = figures.sensitivity_ranking(frame, unmeasurable=names[:2]).axes[0]
    known = table[table["rank"].notna()]
    drawn_points = np.concatenate([line.get_xydata() for line in axis.lines[:2]])
    drawn_points = drawn_points[np.argsort(drawn_points[:, 1])]
    np.testing.assert_array_equal(drawn_points, np.column_stack([known["value"], np.arange(7)]))
    whiskers = np.array([path.vertices[:, 0] for path in axis.collections[0].get_paths()])
    np.testing.assert_array_equal(whiskers, known[["low", "high"]])
    assert [patch.get_hatch() for patch in axis.patches] == ["////"] * 2
    assert sorted(text.get_text() for text in axis.get_yticklabels()[-2:]) == sorted(names[:2])


# Trade-off ----------------------------------------------------------------------------------------------------------


def test_the_tradeoff_is_over_milliseconds_as_well():
    frame = plans().rename(columns={"macs": "ms"})
    axis = figures.tradeoff(frame, {"ms": frame["ms"].max(), "value": 0.9}, cost="ms").axes[0]
    for line, (_, mine) in zip(axis.lines, frame.groupby("method", sort=False), strict=False):
        np.testing.assert_allclose(line.get_xydata(), mine[["ms", "value"]])
    assert axis.get_xlabel() == "milliseconds"


@pytest.mark.parametrize("unit", [1.0, 1e6])
@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_the_tradeoff_draws_every_plan_and_the_front(metric: str, unit: float):
    frame = plans().assign(metric=metric, macs=lambda f: f["macs"] * unit * (40 if unit > 1 else 1))
    axis = figures.tradeoff(frame, {"macs": frame["macs"].max(), "value": 0.9}).axes[0]
    for line, (_, mine) in zip(axis.lines, frame.groupby("method", sort=False), strict=False):
        np.testing.assert_allclose(line.get_xydata(), mine[["macs", "value"]] / [unit, 1])
    front = axis.lines[3]
    on = frame[figures.pareto_front(frame["macs"].to_numpy(), frame["value"].to_numpy(), metric == "accuracy")]
    on = on.sort_values("macs")
    np.testing.assert_allclose(front.get_xydata(), on[["macs", "value"]] / [unit, 1])
    assert front.get_drawstyle() == "steps-post"
    for part, (_, mine) in zip(axis.collections, frame.groupby("method", sort=False), strict=False):
        np.testing.assert_allclose([path.vertices[:, 1] for path in part.get_paths()], mine[["low", "high"]])
    assert [text.get_text() for text in axis.texts] == ["method 0", "method 1", "method 2"]


def test_intervals_without_an_end_are_dotted_from_edge_to_edge():
    frame = plans(1)
    frame.loc[1, ["low", "high"]] = -np.inf, np.inf
    figure = figures.tradeoff(frame)
    known, unknown = figure.axes[0].collections
    np.testing.assert_allclose([path.vertices[:, 1] for path in known.get_paths()], frame[["low", "high"]].drop(1))
    np.testing.assert_array_equal(unknown.get_paths()[0].vertices, [[frame["macs"][1], 0], [frame["macs"][1], 1]])
    assert unknown.get_linestyle() != known.get_linestyle()
    assert "interval not known" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert np.isfinite(figure.axes[0].get_ylim()).all()


# Additivity ---------------------------------------------------------------------------------------------------------


def test_additivity_draws_the_groups_in_order_on_equal_axes():
    frame = steps()
    sums = frame[["predicted_so_far", "measured_so_far"]]
    axis = figures.additivity(frame).axes[0]
    np.testing.assert_allclose(axis.lines[1].get_xydata(), 100 * sums)
    whiskers = [path.vertices for path in axis.collections[0].get_paths()]
    for whisker, (_, row) in zip(whiskers, frame.iterrows(), strict=True):
        np.testing.assert_allclose(whisker[:, 0], 100 * row["predicted_so_far"])
    reach = axis.get_ylim()[1]  # an interval that leaves the axes ends there
    np.testing.assert_allclose([w[:, 1] for w in whiskers], (100 * frame[["low", "high"]]).clip(upper=reach))
    diagonal = axis.lines[0].get_xydata()
    np.testing.assert_array_equal(diagonal[:, 0], diagonal[:, 1])
    assert axis.get_xlim() == axis.get_ylim()
    assert axis.get_aspect() == 1
    assert axis.get_xlabel() == "predicted drop of accuracy (points)"
    gaps = (sums["predicted_so_far"] - sums["measured_so_far"]).abs()
    grown = gaps.diff().fillna(gaps)
    assert {text.get_text() for text in axis.texts} == set(frame["group"][grown.nlargest(3).index])


def test_additivity_takes_the_table_of_the_function_of_that_name(tiny: torch.nn.Module, task: fl.tasks.Classification):
    graph = fl.trace(tiny.eval(), task.example_input)
    scores = fl.score(graph, "l2")
    curves = fl.sweep(graph, scores, task, ratios=(0.5,), max_samples=32, progress=False)
    table = fl.additivity(graph, curves, fl.Plan.uniform(graph, scores, 0.25, multiple=1), task, metric="loss")
    axis = figures.additivity(table).axes[0]
    np.testing.assert_allclose(axis.lines[1].get_xydata(), table[["predicted_so_far", "measured_so_far"]])
    assert axis.get_xlabel() == "predicted rise of loss"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.sensitivity_curves(hand_made()[:0]), "the frame must have rows.*missing columns: none"),
        (lambda: figures.sensitivity_map(hand_made().drop(columns="low")), r"missing columns: \['low'\]"),
        (lambda: figures.sensitivity_map(hand_made(), "acuracy"), "unknown metric 'acuracy': did you mean 'accuracy'"),
        (lambda: figures.sensitivity_curves(hand_made(), unmeasurable=["flta"]), "unknown group 'flta': .*'flat'"),
        (lambda: figures.sensitivity_curves(hand_made()[1:]), "group 'flat' has no row of ratio 0"),
        (lambda: figures.sensitivity_map(hand_made().assign(metric="mAP")), "give higher_is_better=True or False"),
        (lambda: figures.sensitivity_ranking(hand_made()[["group"]]), "missing columns: .'ratio'"),
        (lambda: figures.tradeoff(plans().drop(columns="macs")), r"missing columns: \['macs'\]"),
        (lambda: figures.tradeoff(plans(), cost="ms"), r"missing columns: \['ms'\]"),
        (lambda: figures.tradeoff(plans(), cost="flops"), "cost must be one of"),
        (lambda: figures.tradeoff(plans()[:0]), "one for each plan; missing columns: none"),
        (lambda: figures.tradeoff(plans().assign(value=np.nan)), "'method 0' has NaN or infinite"),
        (lambda: figures.tradeoff(plans().assign(metric="loss"), metric="los"), "unknown metric 'los'"),
        (lambda: figures.additivity(steps().drop(columns="low")), r"missing columns: \['low'\]"),
        (lambda: figures.additivity(steps()[:0]), "missing columns: none"),
        (
            lambda: figures.additivity(steps(3).assign(measured_so_far=[0, np.nan, 0])),
            "group 'layer0.1.conv1' has others",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        call()
