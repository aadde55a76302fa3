"""Figures: data in, a figure with labelled axes out; exactly as wide as the venue asks; the same bytes twice."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

import fpgmlab as fl
from fpgmlab import figures
from fpgmlab.figures.files import drawn as drawn_as
from fpgmlab.geometry import pairwise_distances

WIDTHS = {
    ("cvpr", "column"): 3.25,
    ("cvpr", "page"): 6.875,
    ("neurips", "column"): 5.5,
    ("ieee", "column"): 3.5,
    ("ieee", "page"): 7.16,
}


def filters(n: int = 24, channels: int = 4, size: int = 3) -> torch.Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(n))


def layers(count: int, n: int = 16) -> dict[str, torch.Tensor]:
    return {f"model.{i}.block.conv{i % 3}": (i + 1) ** -0.5 * filters(n + i) for i in range(count)}


def gammas(count: int, channels: int = 24, dead: float = 0.0) -> pd.DataFrame:
    random = np.random.default_rng(count)
    parts = []
    for i in range(count):
        gamma = random.normal(0.5, 0.15, channels) * (random.random(channels) >= dead * i / count)
        layer = {"group": f"features.{i}", "layer": f"features.{i}.bn", "channel": range(channels), "gamma": gamma}
        parts.append(pd.DataFrame(layer))
    return pd.concat(parts, ignore_index=True)


def scores(count: int, protected: int = 1) -> pd.DataFrame:
    parts = []
    for i in range(count):
        values = np.random.default_rng(i).gamma(9, size=32) * 3**i
        reason = "carries the model's output" if i >= count - protected else ""
        gone = (values < np.median(values)) & (not reason)
        group = {"group": f"layer{i // 4}.{i}.conv1", "channel": range(32), "score": values, "removed": gone}
        parts.append(pd.DataFrame(group).assign(protected=reason))
    return pd.concat(parts, ignore_index=True)


def agreement(count: int) -> pd.DataFrame:
    criteria = ["fpgm", "l2", fl.criteria.FPGM(as_implemented_by="torch-pruning"), fl.criteria.FPGM(center="medoid")]
    return fl.compare_criteria(layers(count), criteria)


def plan_frame() -> pd.DataFrame:
    frame = scores(20).groupby("group", sort=False)["removed"].agg(["size", "sum"]).reset_index()
    frame = frame.rename(columns={"size": "channels"}).assign(kept=frame["size"] - frame["sum"], protected="")
    frame.loc[len(frame) - 1, "protected"] = "carries the model's output"
    return frame


def slimming() -> pd.DataFrame:
    rows = [(n, s, r, 0.9 - 0.7 * r**p * (s == "pruned")) for n, p in (("plain", 2), ("sparse", 6))
            for s in ("pruned", "fine-tuned") for r in np.linspace(0, 0.9, 7)]  # fmt: skip
    return pd.DataFrame(rows, columns=["network", "stage", "ratio", "accuracy"])


def curves(count: int) -> pd.DataFrame:
    rows = [
        (f"layer{i // 4}.{i}.conv1", r, metric, v, v - 0.05 * r, v + 0.05 * r)
        for i in range(count)
        for metric, top in (("accuracy", 0.9), ("loss", 2.0))
        for r in np.linspace(0, 0.9, 7)
        for v in [top - 0.8 * r ** (1 + i % 5)]
    ]
    return pd.DataFrame(rows, columns=["group", "ratio", "metric", "value", "low", "high"])


def stages() -> pd.DataFrame:
    return pd.DataFrame(
        {"stage": ["original", "pruned", "fine-tuned"], "macs": [31e6, 15e6, 15e6], "accuracy": [0.94, 0.11, 0.93]}
    )


def clothes(style: figures.style) -> Figure:
    names = ["ankle boot", "T-shirt/top", "trouser", "dress"] * 4
    return figures.pictures(filters(16, 1, 12), names, ["ankle boot", *names[1:-1], "pullover"], style=style)


def crowns(networks: int, count: int, style: figures.style) -> Figure:
    random = torch.Generator().manual_seed(networks)
    low = torch.tensor([[10.0, 40], [130, 150]]) + 60 * torch.rand(count, 2, 2, generator=random)
    boxes = torch.cat([low, low + 8 + 40 * torch.rand(count, 2, 2, generator=random)], dim=2)
    found = [{"boxes": b, "scores": torch.ones(2), "labels": torch.arange(2)} for b in boxes]
    wanted = torch.cat([torch.arange(2.0).expand(count, 2)[..., None], boxes], dim=2)
    names = ["before", "pruned to half", "recovered"][:networks]
    images = torch.rand(count, 3, 256, 256, generator=random)
    return figures.detections(images, dict.fromkeys(names, found), wanted, ["oak", "fir"], style=style)


def distances(n: int) -> torch.Tensor:
    return pairwise_distances(filters(n).flatten(1))


Make = Callable[[dict | None], Figure]
FIGURES: dict[str, Make] = {
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
    "sensitivity map": lambda s: figures.sensitivity_map(curves(12), style=s),
    "sensitivity map, 60": lambda s: figures.sensitivity_map(curves(60), "loss", style=s),
    "plan": lambda s: figures.plan_bars(plan_frame(), style=s),
    "recovery": lambda s: figures.recovery(stages(), style=s),
    "tiles, grey": lambda s: figures.filter_tiles(filters(16, 1), torch.arange(16.0), (1, 2), style=s),
    "tiles, 128": lambda s: figures.filter_tiles(filters(128), torch.arange(128.0).square(), range(50), style=s),
    "tiles, colour": lambda s: figures.filter_tiles(filters(32, 3, 7), torch.arange(32.0), style=s),
    "pictures": clothes,
    "detections": lambda s: crowns(1, 5, s),
    "detections, 3 networks": lambda s: crowns(3, 2, s),
}
UNLABELLED = {"tiles, grey", "tiles, 128", "tiles, colour", "pictures", "detections", "detections, 3 networks"}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts that a drawing shows: labels of ticks outside of the view are never drawn."""
    found: list[Text] = []
    draw = Text.draw

    def note(self: Text, renderer: object) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        draw(self, renderer)

    monkeypatch.setattr(Text, "draw", note)
    return found


@pytest.mark.parametrize("venue", [None, "cvpr"])  # the widest and the narrowest; all venues are in the next test
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_at_both_ends(name: str, venue: str | None, drawn: list[Text]):
    style = None if venue is None else figures.style(venue)
    before = dict(mpl.rcParams)
    figure = FIGURES[name](style)
    assert isinstance(figure, Figure)
    width = figure.get_figwidth() if venue is None else WIDTHS[venue, "column"]
    assert abs(figure.get_figwidth() - width) < 1e-6
    assert 1 < figure.get_figheight() <= (11 if venue is None else 8.9), "a page has no room for more"
    if name not in UNLABELLED:
        for axis in (axis for axis in figure.axes if axis.axison):
            assert axis.get_xlabel() or axis.get_ylabel() or figure.get_supylabel()
        assert figure.axes[0].get_ylabel() or figure.get_supylabel()
        assert any(axis.get_xlabel() for axis in figure.axes) or figure.get_supxlabel()
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=5.5 if venue is None else 6.0)
    check_pdf(figure, width)
    assert dict(mpl.rcParams) == before


def check_texts(figure: Figure, texts: list[Text], least: float) -> None:
    assert texts
    page = figure.bbox.padded(0.75)
    boxes = []
    for text in texts:
        assert text.get_fontsize() >= least, text.get_text()
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, f"{text.get_text()!r} leaves the page: {box}, {page}"
        assert page.y0 <= box.y0 < box.y1 <= page.y1, f"{text.get_text()!r} leaves the page: {box}, {page}"
        if text.get_rotation() in (0, 90):  # the frame of a slanted text says little
            boxes.append((box, text.get_text()))
    for (one, a), (two, b) in combinations(boxes, 2):
        across = min(one.x1, two.x1) - max(one.x0, two.x0)
        down = min(one.y1, two.y1) - max(one.y0, two.y0)
        smaller = min(one.width * one.height, two.width * two.height)
        assert across <= 0 or down <= 0 or across * down < 0.2 * smaller, f"{a!r} covers {b!r}"


def check_pdf(figure: Figure, width: float) -> None:
    content = drawn_as(figure, "pdf")
    assert b"/Type3" not in content.replace(b" ", b"")
    box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", content)
    assert float(box[1]) == pytest.approx(72 * width, abs=0.01)


@pytest.mark.parametrize(("venue", "width"), WIDTHS)
@pytest.mark.parametrize("name", ["score bars", "tiles, colour", "agreement"])
def test_widths_are_exact(name: str, venue: str, width: str, drawn: list[Text]):
    figure = FIGURES[name](figures.style(venue, width))
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=6.0)
    assert abs(figure.get_figwidth() - WIDTHS[venue, width]) < 1e-6
    check_pdf(figure, WIDTHS[venue, width])


@pytest.mark.parametrize("name", FIGURES)
def test_two_runs_give_the_same_bytes(name: str):
    one, two = (FIGURES[name](figures.style("cvpr")) for _ in range(2))
    assert drawn_as(one, "pdf") == drawn_as(two, "pdf")


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
        (lambda: figures.detections(filters(2, 3), {}), "at least one network"),
        (lambda: figures.detections(filters(2, 1), {"a": []}), r"\(n, 3, height, width\).* got \(2, 1, 3, 3\)"),
        (lambda: figures.detections(filters(2, 3), {"a": []}), "a: detections of 0 pictures, but there are 2"),
        (lambda: figures.detections(filters(1, 3), {"a": [{}]}, torch.ones(1, 5)), r"\(1, boxes, 5\).*got \(1, 5\)"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        call()


# Style --------------------------------------------------------------------------------------------------------------


def test_styles_are_settings_of_matplotlib_without_latex():
    for venue in figures.VENUES:
        for width in ("column", "page"):
            style = figures.style(venue, width)
            assert set(style) <= set(mpl.rcParams)
            assert (style["pdf.fonttype"], style["text.usetex"]) == (42, False)
            shipped = {font.name for font in mpl.font_manager.fontManager.ttflist if "mpl-data" in font.fname}
            assert set(style["font.family"]) <= shipped
            assert figures.style(venue, width) == style


@pytest.mark.parametrize(("arguments", "message"), [(("nips",), "'neurips', 'ieee'; not 'nips'"),
                                                    (("cvpr", "half"), "'column', 'page'; not 'half'")])  # fmt: skip
def test_unknown_styles_are_named(arguments: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        figures.style(*arguments)


def test_a_style_can_be_changed_and_the_users_settings_do_not_show(tmp_path: Path):
    figure = figures.score_bars(torch.arange(3.0), style=figures.style("cvpr") | {"axes.labelsize": 11})
    assert figure.axes[0].xaxis.label.get_fontsize() == 11
    plain = figures.save_figure(figures.recovery(stages()), None, tmp_path / "plain")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "xtick.color": "red", "savefig.bbox": "tight"}):
        other = figures.save_figure(figures.recovery(stages()), None, tmp_path / "other")
    assert [p.read_bytes() for p in plain[:2]] == [p.read_bytes() for p in other[:2]]


def test_threads_do_not_mix_their_settings():
    before, sizes = dict(mpl.rcParams), []

    def draw(venue: str) -> None:
        for _ in range(5):
            figure = figures.score_bars(torch.arange(3.0), style=figures.style(venue))
            sizes.append((venue, figure.axes[0].xaxis.label.get_fontsize()))

    threads = [threading.Thread(target=draw, args=(venue,)) for venue in ("cvpr", "neurips", "screen")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sizes)) == 3
    assert dict(mpl.rcParams) == before


def test_figures_never_import_pyplot():
    folder = Path(figures.__file__).parent
    sources = sorted(folder.glob("*.py"))
    assert len(sources) > 10
    assert not [path.name for path in sources if re.search(r"import.*pyplot|plt\.", path.read_text())]
    script = "import sys, fpgmlab.figures; print('matplotlib.pyplot' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "False"
