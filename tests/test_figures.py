"""Figures: data in, a figure with labelled axes out; the same bytes twice; fonts that publishers take."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

import fpgmlab as fl
from fpgmlab import figures


def recovery_figure() -> Figure:
    stages = pd.DataFrame(
        {"stage": ["original", "pruned", "fine-tuned"], "macs": [31e6, 15e6, 15e6], "accuracy": [0.94, 0.11, 0.93]}
    )
    return figures.recovery(stages)


def plan_figure() -> Figure:
    model = fl.models.build("resnet20", channels=1)
    graph = fl.trace(model, torch.randn(1, 1, 28, 28))
    return figures.plan_bars(fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.3).frame(graph))


def score_figure() -> Figure:
    return figures.score_bars(torch.arange(16.0), removed=(0, 3), label="sum of distances")


FIGURES = {
    "recovery": (recovery_figure, True),
    "plan": (plan_figure, True),
    "scores": (score_figure, True),
    "grey tiles": (lambda: figures.filter_tiles(torch.randn(10, 1, 3, 3), torch.arange(10.0), (1, 2)), False),
    "colour tiles": (lambda: figures.filter_tiles(torch.randn(10, 3, 3, 3), torch.arange(10.0)), False),
    "pictures": (lambda: figures.pictures(torch.randn(9, 1, 28, 28), ["a"] * 9, ["a", "b"] + ["a"] * 7), False),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_labelled_and_repeat_themselves(name: str, tmp_path: Path):
    make, has_axes = FIGURES[name]
    files = []
    for turn in ("a", "b"):
        torch.manual_seed(0)
        files.append(figures.save_figure(make(), tmp_path / turn / "figure"))
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes()
    figure = make()
    assert isinstance(figure, Figure)
    if has_axes:
        for axis in figure.axes:
            assert axis.get_xlabel()
            assert axis.get_ylabel()
    pdf = next(path for path in files[0] if path.suffix == ".pdf").read_bytes()
    assert b"/Type3" not in pdf.replace(b" ", b"")


def test_removed_filters_are_framed_in_red_and_come_in_order():
    figure = figures.filter_tiles(torch.randn(4, 1, 3, 3), torch.tensor([3.0, 1.0, 2.0, 0.0]), removed=(3, 1))
    titles = [axis.get_title("center") for axis in figure.axes][:4]
    assert titles == ["3", "1", "2", "0"]
    widths = [axis.spines["left"].get_linewidth() for axis in figure.axes][:4]
    assert widths[0] == widths[1] > widths[2] == widths[3]


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"got \(4, 9\), \(3,\)"):
        figures.filter_tiles(torch.zeros(4, 9), torch.zeros(3))


def test_no_style_leaks_out():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    recovery_figure()
    assert dict(mpl.rcParams) == before
