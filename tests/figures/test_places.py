"""Where points stand: at their costs, to the last digit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import fpgmlab as fl
from fpgmlab import figures
from fpgmlab.figures.paper.item import Item, Request
from fpgmlab.figures.paper.paper import MAKERS
from fpgmlab.figures.paper.sources import sources
from tests.figures.made import agreement, compared, curves, plan_frame, recovered


def places(figure: Figure, axis: Axes) -> np.ndarray:
    """Return where the markers of a panel are seen, in its scales: (points, 2)."""
    figure.draw_without_rendering()
    seen = [line.get_transform().transform(np.column_stack(line.get_data(orig=False)))
            for line in axis.lines if line.get_marker() not in ("None", "")]  # fmt: skip
    return axis.transData.inverted().transform(np.concatenate([np.zeros((0, 2)), *seen]))


def check_true(figure: Figure, frame: pd.DataFrame, x: str) -> None:
    """Check that each row of a frame has a marker exactly at its cost and value, in the panel of its network."""
    for axis, (_, part) in zip(figure.axes, frame.groupby("network", sort=False), strict=False):
        seen, wanted = places(figure, axis), part[[x, "value"]].to_numpy(float)
        assert len(seen) == len(wanted)
        for place in wanted:
            assert np.abs(seen - place).max(axis=1).min() < 1e-6, f"nothing at {place}"


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for legend in figure.legends for text in legend.get_texts())


@pytest.mark.parametrize("name", ["theory_practice", "accuracy_ms"])
def test_what_was_measured_stands_where_it_was_measured(name: str):
    item = MAKERS[name](Request(sources(None), lambda width: fl.figures.style("cvpr", width)))
    assert isinstance(item, Item)
    assert isinstance(item.content, Figure)
    check_true(item.content, item.data, "ms" if name == "accuracy_ms" else "macs")
    assert "side by side" not in texts(item.content)


@pytest.mark.parametrize("options", [{"x": "ms"}, {"diagonal": True}])
def test_costs_that_are_read_off_are_true(options: dict):
    frame = compared(4)
    figure = figures.comparison(frame, panel="network", **options)
    check_true(figure, frame, options.get("x", "macs"))


def test_one_cost_of_ones_own_makes_all_true():
    frame = compared(4)
    frame.loc[(frame["method"] == "L2") & (frame["macs"] == 0.5), "macs"] = 0.48
    figure = figures.comparison(frame, panel="network")
    check_true(figure, frame, "macs")
    assert "side by side" not in texts(figure)


def test_methods_at_one_budget_stand_side_by_side_around_it_and_the_legend_says_so():
    frame = compared(4).drop(columns="open")
    figure = figures.comparison(frame, panel="network", style=figures.style("cvpr", "page"))
    assert "side by side: at the same cost" in texts(figure)
    for axis in figure.axes:
        assert sorted(axis.get_xticks()) == [0.25, 0.35, 0.5]
        for budget, values in frame.groupby("macs")["value"]:
            seen = places(figure, axis)
            near = seen[np.isin(seen[:, 1].round(9), values.round(9))]
            beside = near[np.abs(near[:, 0] - budget) < 0.04]
            assert beside[:, 0].mean() == pytest.approx(budget, abs=1e-6)
            spread = np.ptp(axis.transData.transform(beside)[:, 0]) * 72 / figure.dpi
            assert 0 < spread < 8  # points: twice a marker's width


def test_no_seconds_stand_at_an_edge_that_says_so():
    (axis,) = figures.points_over_seconds(recovered(3)).axes
    axis.figure.draw_without_rendering()
    at = dict(zip((tick.get_text() for tick in axis.get_xticklabels()), axis.get_xticks(), strict=True))
    drawn = np.concatenate([np.atleast_1d(line.get_xdata()) for line in axis.lines if line.get_marker() != "None"])
    assert at["0"] == drawn.min()


def stages_of(*values: float) -> pd.DataFrame:
    names = ["original", "pruned", "repaired", "fine-tuned"]
    return pd.DataFrame({"stage": names, "macs": [31e6, *[15e6] * 3], "accuracy": values})


@pytest.mark.parametrize("venue", [None, "cvpr"])
def test_a_stage_upon_another_hides_neither_it_nor_is_hidden_and_no_arrow_lies_on_them(venue: str | None):
    style = None if venue is None else figures.style(venue)
    for values, sizes, arrows in [((0.94, 0.2, 0.932, 0.936), [7, 7, 7, 3.5], 2), ((0.94, 0.1, 0.5, 0.9), [7] * 4, 3)]:
        (axis,) = figures.recovery(stages_of(*values), style=style).axes
        assert [line.get_markersize() for line in axis.lines] == sizes
        assert sum(text.arrow_patch is not None for text in axis.texts) == arrows


def test_marks_at_nothing_removed_are_whole():
    whole = plan_frame().assign(kept=lambda frame: frame["channels"])
    (axis,) = figures.plan_ratios({"none": whole}).axes
    marks = [line for line in axis.lines if line.get_marker() not in ("None", "")]
    assert marks
    assert not any(line.get_clip_on() for line in marks)


@pytest.mark.parametrize(
    ("half", "said"), [(0.003, "95 % intervals: hardly wider than the lines"), (0.1, "95 % interval")]
)
def test_bands_that_no_one_can_see_are_said_to_be_so(half: float, said: str):
    frame = curves(12).assign(low=lambda f: f["value"] - half, high=lambda f: f["value"] + half)
    figure = figures.sensitivity_curves(frame, style=figures.style("cvpr", "page"))
    assert said in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", ["rank_agreement", "points_over_seconds"])
def test_labels_of_axes_are_one_line(name: str):
    frame = agreement(6) if name == "rank_agreement" else recovered(3)
    figure = getattr(figures, name)(frame, style=figures.style("cvpr"))
    assert not any("\n" in axis.get_ylabel() for axis in figure.axes)
