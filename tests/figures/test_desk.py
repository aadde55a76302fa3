"""The picture of the desk: what it draws is what graph, curves and plan say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from matplotlib.figure import Figure
from matplotlib.text import Text

import fpgmlab as fl
from fpgmlab import figures
from fpgmlab.allocation.degradation import degradations
from fpgmlab.allocation.forecast import forecast
from fpgmlab.figures.desk.desk import DROPS
from fpgmlab.figures.files import drawn as drawn_as
from tests.allocation.made import chain, curves_of, rising
from tests.deployment.tables import made_up as table_of
from tests.figures.checks import WIDTHS, check_pdf, check_texts

# Between the others in size.
LESS = [pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "mobilenet_v3_small")]


def network(name: str) -> fl.ChannelGraph:
    model = torchvision.models.get_model(name, num_classes=10).eval()
    return fl.trace(model, torch.randn(1, 3, 64, 64))


def made_up(graph: fl.ChannelGraph, metric: str = "accuracy", without: tuple[str, ...] = ()) -> fl.Curves:
    scale = 0.3 if metric == "accuracy" else 1.0
    drops = {name: {k: min(0.85, scale * d) for k, d in points.items()} for name, points in rising(graph, 0).items()}
    return curves_of(graph, {name: points for name, points in drops.items() if name not in without}, metric)


def some_plan(graph: fl.ChannelGraph, curves: fl.Curves, seed: int = 0) -> fl.Plan:
    random = np.random.default_rng(seed)
    free = [name for name, group in graph.items() if group.protected is None]
    return fl.Plan.from_ratios(graph, curves.scores, {name: float(random.beta(1.5, 2.5)) for name in free})


@pytest.fixture(scope="module")
def graphs() -> dict[str, fl.ChannelGraph]:
    torch.manual_seed(0)
    small = {"resnet20": fl.trace(fl.models.load("resnet20-fashion"), torch.randn(1, 1, 28, 28)), "chain": chain(6)}
    return small | {name: network(name) for name in ("resnet50", "densenet121", "mobilenet_v3_small")}


def bars_of(figure: Figure) -> list:
    """Return the axes of the bars, row by row; below each is a strip of MACs."""
    return [axis for axis in figure.axes if axis.get_ylabel() == "ratio removed"]


def strips_of(figure: Figure) -> list:
    return [axis for axis in figure.axes if axis.get_ylabel() == "MACs"]


@pytest.mark.parametrize("venue", [None, "cvpr"])
@pytest.mark.parametrize("name", ["chain", "resnet20", "densenet121", *LESS])
def test_it_is_legible_at_both_ends(name: str, venue: str | None, graphs: dict, drawn: list[Text]):
    graph = graphs[name]
    curves = made_up(graph)
    figure = figures.desk(graph, curves, some_plan(graph, curves), style=venue and figures.style(venue))
    assert 1 < figure.get_figheight() <= (11 if venue is None else 8.9)
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5 if venue is None else 6.0)
    check_pdf(figure, figure.get_figwidth() if venue is None else 3.25)
    pixels = [axis.get_window_extent() for axis in bars_of(figure)]
    assert min(box.height for box in pixels) > 0.4 * figure.dpi, "bars of less than a centimetre say nothing"
    assert len({round(box.width) for box in pixels}) == 1


@pytest.mark.parametrize(("venue", "width"), WIDTHS)
def test_widths_are_exact_and_bytes_the_same(venue: str, width: str, graphs: dict):
    graph = graphs["resnet20"]
    curves = made_up(graph)
    one, two = (
        figures.desk(graph, curves, some_plan(graph, curves), style=figures.style(venue, width)) for _ in range(2)
    )
    assert one.get_figwidth() == pytest.approx(WIDTHS[venue, width], abs=1e-6)
    assert drawn_as(one, "pdf") == drawn_as(two, "pdf")


@pytest.mark.parametrize("name", ["resnet20", "resnet50"])
def test_handles_colours_and_macs_are_the_datas(name: str, graphs: dict):
    graph = graphs[name]
    curves = made_up(graph)
    plan = some_plan(graph, curves)
    figure = figures.desk(graph, curves, plan)
    handles = np.concatenate([axis.lines[-1].get_ydata() for axis in bars_of(figure)])
    np.testing.assert_allclose(handles, [plan.ratios.get(name, 0.0) for name in graph])
    known = degradations(graph, curves, "accuracy")
    images = [image for axis in bars_of(figure) for image in axis.images]
    for image, (group, curve) in zip(images, known.items(), strict=True):
        left, right, low, top = image.get_extent()
        assert (low, top) == (0, pytest.approx(1 - curve.kept[-1] / graph[group].channels))
        assert right > left
        colours = np.ravel(image.get_array())
        middles = (np.arange(len(colours)) + 0.5) / len(colours) * top  # at each colour's height the curve's drop
        np.testing.assert_allclose(colours, np.interp(middles, 1 - curve.kept / curve.kept[0], curve.drop))
        assert image.norm.vmax == 0.2
    found = [bar.get_height() for axis in strips_of(figure) for bar in axis.patches]
    rows = [len(axis.lines[-1].get_ydata()) for axis in bars_of(figure)]
    expected, start = [], 0
    for row in rows:  # in each row first what there was, then what remains
        for macs in (graph.macs_by_group(), graph.macs_by_group(plan)):
            expected += [each / graph.cost().macs for each in macs.values()][start : start + row]
        start += row
    np.testing.assert_allclose(found, expected)


def test_bars_and_macs_stand_below_each_other(graphs: dict):
    graph = graphs["resnet50"]
    curves = made_up(graph)
    figure = figures.desk(graph, curves, some_plan(graph, curves), style=figures.style("cvpr"))
    assert len(bars_of(figure)) > 1
    for bars, strip in zip(bars_of(figure), strips_of(figure), strict=True):
        count = len(bars.lines[-1].get_xdata())
        middles = [bar.get_x() + bar.get_width() / 2 for bar in strip.patches]
        np.testing.assert_allclose(middles, [*bars.lines[-1].get_xdata()] * 2)
        assert bars.get_xlim() == strip.get_xlim() == bars_of(figure)[0].get_xlim()
        assert count == len(strip.patches) / 2


def test_what_was_not_measured_is_hatched_and_what_is_protected_grey(graphs: dict):
    graph = graphs["resnet20"]
    free = [name for name, group in graph.items() if group.protected is None]
    curves = made_up(graph, without=(free[2],))
    blind = fl.Curves(curves.sums, curves.whole, curves.widths, {**curves.changes, free[4]: 0.0}, True, curves.scores)
    protected = fl.trace(graph.model, graph.example_input, protect=[free[6]])
    figure = figures.desk(protected, blind, some_plan(protected, blind))
    (axis,) = bars_of(figure)
    names = list(graph)
    hatches = {round(p.get_x() + p.get_width() / 2 - axis.lines[-1].get_xdata()[0], 3): p for p in axis.patches}
    place = dict(zip(names, np.round(axis.lines[-1].get_xdata() - axis.lines[-1].get_xdata()[0], 3), strict=True))
    for name in names:
        patch, whole = hatches[place[name]], name in (free[2], free[4])
        grey = protected[name].protected is not None
        assert (patch.get_hatch() is None) == grey
        assert (patch.get_y() == 0) == (whole or grey)
        assert patch.get_y() + patch.get_height() == pytest.approx(1)
    assert len(axis.images) == len(free) - 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"not measured", "protected"} <= set(legend)


@pytest.mark.parametrize("metric", ["accuracy", "kl"])
def test_the_totals_are_costs_and_forecast(metric: str, graphs: dict):
    graph = graphs["resnet20"]
    curves = made_up(graph, metric)
    plan = some_plan(graph, curves)
    axis = bars_of(figures.desk(graph, curves, plan))[0]
    words, cost, whole = axis.get_title(loc="left"), graph.cost(plan), graph.cost()
    assert f"{cost.macs / whole.macs:.1%} of {whole.macs / 1e6:.3g} M MACs" in words
    assert f"{cost.params / whole.params:.1%} of {whole.params / 1e3:.3g} k parameters" in words
    assert f"{cost.bytes / whole.bytes:.1%} of {whole.bytes / 1e6:.3g} MB" in words
    found = forecast(graph, curves, plan, metric)
    if metric == "accuracy":
        assert f"accuracy predicted {found.value:.1%} ± {100 * found.half:.1f} (was 90.0%)" in words
    else:
        assert f"kl predicted {found.value:.3g} ± {found.half:.2g} (was 0)" in words
    nothing = fl.Plan({name: group.channels for name, group in graph.items()}, {})
    words = bars_of(figures.desk(graph, curves, nothing))[0].get_title(loc="left")
    assert words.count("100.0%") == 3
    lacking = made_up(graph, metric, without=(next(iter(plan.removed)),))
    bound = "at most" if metric == "accuracy" else "at least"
    assert f"{metric} predicted {bound} " in bars_of(figures.desk(graph, lacking, plan))[0].get_title(loc="left")


def measured_of(*networks: tuple[str, float, float, float], samples: int = 256, metric: str = "accuracy"):
    rows = [(name, metric, *values, samples) for name, *values in networks]
    return pd.DataFrame(rows, columns=["network", "metric", "value", "low", "high", "samples"])


def test_what_was_measured_takes_the_place_of_what_is_predicted(graphs: dict):
    graph = graphs["resnet20"]
    curves = made_up(graph)
    plan = some_plan(graph, curves)

    def words(measured: pd.DataFrame, **more: object) -> str:
        figure = figures.desk(graph, curves, plan, measured=measured, **more)
        return " ".join(bars_of(figure)[0].get_title(loc="left").split())

    both = measured_of(("as cut", 0.701, 0.69, 0.712), ("repaired", 0.944, 0.939, 0.948))
    found = words(both)
    assert "accuracy repaired 94.4% (93.9 to 94.8) (was 90.0%) · as cut 70.1% (69.0 to 71.2) · on 256 samples" in found
    assert "predicted" not in found
    unknown = measured_of(("as cut", 0.701, -np.inf, np.inf))
    assert "accuracy as cut 70.1% (was 90.0%) · on 256 samples" in words(unknown)
    assert "on 1 sample" in words(measured_of(("as cut", 0.7, np.nan, np.nan), samples=1)).split(" · ")
    trained = pd.concat([both, measured_of(("fine-tuned", 0.95, np.nan, np.nan), samples=10_000)])
    assert "accuracy fine-tuned 95.0% (was 90.0%) · repaired 94.4%" in words(trained)
    assert "on 10,000 and 256 samples" in words(trained)
    assert "predicted" in words(measured_of(("as cut", 0.7, 0.6, 0.8), metric="loss"))
    with pytest.raises(ValueError, match="measured must have the columns of PlanEditor.measured; missing are samples"):
        words(both.drop(columns="samples"))


@pytest.mark.parametrize("venue", [None, "cvpr"])
def test_milliseconds_and_steps_of_a_table(venue: str | None, graphs: dict, drawn: list[Text]):
    graph = graphs["resnet20"]
    curves, table = made_up(graph), table_of(graph)
    plan = some_plan(graph, curves)
    steps = {name: [group.channels // 2, group.channels] for name, group in graph.items() if group.protected is None}
    measured = measured_of(("as cut", 0.701, 0.69, 0.712), ("repaired", 0.944, 0.939, 0.948))
    style = None if venue is None else figures.style(venue)
    figure = figures.desk(graph, curves, plan, measured=measured, table=table, steps=steps, style=style)
    words = bars_of(figure)[0].get_title(loc="left")
    assert f"{table.latency(graph, plan):.3g} of {table.latency(graph):.3g} ms (made up)" in words
    ticks = [each for each in bars_of(figure)[0].collections if each.get_colors()[0][:3].tolist() == [0.25] * 3]
    heights = [float(segment[0, 1]) for each in ticks for segment in each.get_segments()]
    assert heights == [0.5] * len(steps)
    assert "end of a step" in [text.get_text() for text in figure.legends[0].get_texts()]
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5)


def test_channels_kept_and_stages_are_written(graphs: dict):
    graph = graphs["resnet20"]
    curves = made_up(graph)
    plan = some_plan(graph, curves)
    (axis,) = bars_of(figures.desk(graph, curves, plan))
    words = [text.get_text() for text in axis.texts]
    count = len(graph)
    assert words[:count] == [str(plan.kept.get(name, group.channels)) for name, group in graph.items()]
    assert words[count:] == ["layer1", "layer2", "layer3"]
    (strip,) = strips_of(figures.desk(graph, curves, plan))
    labels = [label.get_text() for label in strip.get_xticklabels()]
    assert labels[:3] == ["conv1", "0.conv1", "1.conv1"]


def test_nothing_measured_at_all(graphs: dict, drawn: list[Text]):
    graph = graphs["chain"]
    full = made_up(graph)
    curves = fl.Curves({}, {}, full.widths, {}, False, full.scores)
    figure = figures.desk(graph, curves, some_plan(graph, full))
    assert not bars_of(figure)[0].images
    assert "predicted" not in bars_of(figure)[0].get_title(loc="left")
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5)


def test_the_colours_get_darker_evenly_for_all_eyes():
    colours = DROPS(np.linspace(0, 1, 64))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16  # CIE L*, for Y > 0.009
    assert np.all(np.diff(lightness) < -0.5)
    assert lightness[0] - lightness[-1] > 70


def test_foreign_things_are_refused_in_words(graphs: dict):
    graph, other = graphs["resnet20"], graphs["chain"]
    curves = made_up(graph)
    plan = some_plan(graph, curves)
    with pytest.raises(ValueError, match="the plan was made for another network"):
        figures.desk(graph, curves, some_plan(other, made_up(other)))
    with pytest.raises(ValueError, match="the curves are of another network"):
        figures.desk(graph, made_up(other), plan)
    with pytest.raises(ValueError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        figures.desk(graph, curves, plan, metric="acuracy")
