"""A paper's figures and tables: all of them from the stored studies, at the venue's widths, read without colours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import fpgmlab as fl
from fpgmlab.figures.paper.intervals import wilson
from fpgmlab.figures.paper.item import Item, Request
from fpgmlab.figures.paper.latex import decimals, escaped, plus_minus, sentence
from fpgmlab.figures.paper.paper import DOCUMENTS, MAKERS, PRINTED
from fpgmlab.figures.paper.sources import sources
from fpgmlab.figures.paper.tables import criteria
from tests.figures.checks import WIDTHS, check_pdf, check_texts

STORED = [
    "accuracy_macs",
    "accuracy_recovered",
    "accuracy_ms",
    "recovery_seconds",
    "theory_practice",
]  # nothing has to be computed
TABLES = [name for name in MAKERS if name.startswith("table_")]
MINE = pd.DataFrame({
    "network": ["resnet20-fashion"] * 4, "method": ["peak_rule"] * 4, "macs": [0.5, 0.5, 0.35, 0.25],
    "value": [0.93, 0.932, 0.92, 0.9],
})  # fmt: skip
# Machado, Oliveira & Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, IEEE TVCG 15
# (2009), severity 1: on linear RGB.
MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
LEAST = 15.0  # CIELAB's distance of two colours; a just noticeable one is 2.3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("paper")
    return folder, fl.paper({"mine": MINE}, "cvpr", folder, only=[*STORED, *TABLES])


def lab(colour: str, deficiency: str | None) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if deficiency:
        linear = np.clip(np.array(MACHADO[deficiency]) @ linear, 0, 1)
    t = TO_XYZ @ linear / TO_XYZ.sum(axis=1)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_it_is_an_oracle_of_colours():
    assert lab("#ffffff", None) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#ff0000", None) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    red, green = lab("#b03030", "deuteranopia"), lab("#5a7a20", "deuteranopia")
    assert np.linalg.norm(red - green) < 0.5 * np.linalg.norm(lab("#b03030", None) - lab("#5a7a20", None))


@pytest.mark.parametrize("deficiency", [None, *MACHADO])
def test_series_are_told_apart_with_any_colour_vision(deficiency: str | None):
    looks = fl.figures.looks(["FPGM", "reconstruction", "L2", "BN gamma", "L1", "fpgm_mix", "random", "my rule"])
    for (a, one), (b, two) in combinations(looks.items(), 2):
        distance = np.linalg.norm(lab(one.colour, deficiency) - lab(two.colour, deficiency))
        assert distance >= LEAST, f"{a} and {b}: {distance:.1f}"


def test_series_are_told_apart_without_colour():
    for names in (["fpgm", "L1", "l2", *"abcdefgh"], [f"way {i}" for i in range(12)]):
        looks = fl.figures.looks(names)
        assert len({look.marker for look in looks.values()}) == len(names)
    looks = fl.figures.looks([f"way {i}" for i in range(40)])
    assert len({(look.marker, look.dashes) for look in looks.values()}) == 40


def test_a_method_looks_the_same_in_every_figure_and_ones_own_is_black():
    alone, among = fl.figures.looks(["fpgm"]), fl.figures.looks(["my rule", "random", "FPGM", "L2"])
    assert alone["fpgm"] == among["FPGM"]
    assert (among["my rule"].colour, among["my rule"].marker) == ("#000000", "*")


def test_detections_are_told_apart_without_colour():
    from fpgmlab.figures.detections import LOOKS

    assert len({line for _, line in LOOKS.values()}) == len(LOOKS)


@pytest.mark.parametrize("venue", PRINTED)
@pytest.mark.parametrize("name", STORED)
def test_figures_are_exactly_as_wide_as_the_venue_asks_and_legible(name: str, venue: str, drawn: list[Text]):
    item = MAKERS[name](Request(sources({"mine": MINE}), lambda width: fl.figures.style(venue, width)))
    assert isinstance(item, Item)
    figure = item.content
    assert isinstance(figure, Figure)
    drawn.clear()
    figure.draw_without_rendering()
    check_texts(figure, drawn, least=6.0)
    check_pdf(figure, WIDTHS.get((venue, item.width), 5.5))


def test_each_figure_and_table_is_there_with_its_data_and_where_it_comes_from(written: tuple[Path, pd.DataFrame]):
    folder, index = written
    assert list(index["name"]) == [name for name in MAKERS if name in (*STORED, *TABLES)]
    assert (index["left_out"] == "").all()
    captions = (folder / "captions.tex").read_text()
    for row in index.to_dict("records"):
        assert (folder / row["file"]).is_file()
        assert len(pd.read_csv(folder / f"{row['name']}.csv")) > 4
        assert row["caption"] in captions
        assert row["source"] in captions
        assert "data/" in row["source"]
        assert " and own" not in row["source"]
        assert "torch" in row["source"] or "onnxruntime" in row["source"]
        assert "python" in row["source"]
    again = pd.read_csv(folder / "index.csv", keep_default_na=False)
    assert list(again["caption"]) == list(index["caption"])
    assert {path.name for path in folder.glob("*.tex")} == {
        *DOCUMENTS,
        "captions.tex",
        *(f"{name}.tex" for name in TABLES),
    }


def test_ones_own_method_stands_beside_fpgm_with_the_interval_of_its_seeds(written: tuple[Path, pd.DataFrame]):
    folder, _ = written
    shown = pd.read_csv(folder / "accuracy_macs.csv").set_index(["method", "macs"]).sort_index()
    mine = shown.loc["peak_rule", 0.5]
    assert mine["value"].item() == pytest.approx(0.931)
    assert mine["high"].item() - mine["value"].item() == pytest.approx(12.7062 * 0.001, rel=1e-4)  # t of one degree
    assert np.isnan(shown.loc["peak_rule", 0.35]["low"].item())
    assert "FPGM" in shown.index.get_level_values(0)
    table = (folder / "table_criteria.tex").read_text()
    assert re.search(r"^peak\\_rule & \$93\.1 \\pm 1\.3\$ & \$92\.0\$ & \$90\.0\$ \\\\$", table, re.MULTILINE)


def test_tables_are_rectangles_in_the_style_of_booktabs(written: tuple[Path, pd.DataFrame]):
    for name in TABLES:
        text = (written[0] / f"{name}.tex").read_text()
        columns = len(re.search(r"\{@\{\}([lrc]+)@\{\}\}", text)[1])
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(lines) > 4
        for line in lines:
            assert line.startswith(r"\multicolumn") or len(re.findall(r"(?<!\\)&", line)) == columns - 1, line
        assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule", r"\hline", "|")] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (92.5734, 0.0934, r"$92.57 \pm 0.09$"),
        (92.5734, 0.134, r"$92.57 \pm 0.13$"),
        (92.5734, 0.26, r"$92.6 \pm 0.3$"),
        (-3.2, 2.88, r"$-3 \pm 3$"),
        (-0.04, 0.3, r"$0.0 \pm 0.3$"),
        (44.9, 19.4, r"$45 \pm 19$"),
        (1.0, 0.0196, r"$1.00 \pm 0.02$"),
        (94.1, float("nan"), "$94.1$"),
        (float("nan"), 0.1, "--"),
    ],
)
def test_digits_are_those_that_the_interval_leaves(value: float, half: float, text: str):
    assert plus_minus(value, half) == text


def test_rounding_changes_no_interval_by_more_than_a_quarter():
    for half in np.geomspace(1e-3, 99, 400):
        assert abs(round(half, decimals(half)) - half) <= 0.25 * half


def test_intervals_of_shares_are_wilsons():
    from scipy.stats import binomtest

    for right in (0, 9406, 10_000):
        found = binomtest(right, 10_000).proportion_ci(method="wilson")
        assert wilson(right / 10_000, 10_000) == pytest.approx((found.low, found.high), abs=1e-9)


def test_special_characters_are_harmless():
    assert (
        escaped("a_b & 50% $x$ #1 {~^\\}")
        == r"a\_b \& 50\% \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\}"
    )
    assert sentence("95 % of 50%") == r"95\,\% of 50\,\%"


def test_what_is_not_measured_is_left_out_and_said(tmp_path: Path):
    results = tmp_path / "results"
    results.mkdir()
    MINE.to_csv(results / "mine.csv", index=False)
    index = fl.paper(results, "ieee", tmp_path / "out", only=["accuracy_macs", "theory_practice", "table_budgets"])
    left_out = index.set_index("name")["left_out"]
    assert left_out["accuracy_macs"] == ""
    assert index["source"][0] == r"peak\_rule: own measurements."
    assert left_out["theory_practice"] == "no study 'latency'"
    assert "repair" in left_out["table_budgets"]
    assert set(pd.read_csv(tmp_path / "out" / "accuracy_macs.csv")["method"]) == {"peak_rule"}


def test_ones_own_captions_and_what_was_there_stay(tmp_path: Path):
    fl.paper(None, to=tmp_path, only=["table_criteria"], captions={"table_criteria": r"What \emph{we} say."})
    fl.paper({"detector": None}, to=tmp_path, only=["table_budgets", "table_detector"])
    index = pd.read_csv(tmp_path / "index.csv", keep_default_na=False).set_index("name")
    assert list(index.index) == ["table_criteria", "table_budgets", "table_detector"]
    assert index.loc["table_criteria", "caption"] == r"What \emph{we} say."
    assert index.loc["table_detector", "left_out"] == "no study 'detector'"
    captions = (tmp_path / "captions.tex").read_text()
    assert r"What \emph{we} say." in captions
    assert "table_detector" not in captions


def test_a_study_that_has_grown_is_drawn_and_of_allocations_the_fullest(drawn: list[Text]):
    ways = [
        {"network": network, "criterion": criterion, "allocation": allocation, "macs": macs, "way": way, "epochs": 3}
        | {"pictures": 10_000, "seeds": 3, "test": 0.9 + macs / 20, "points": -1.0, "low": -1.25, "high": -0.75}
        for network in ("resnet20-fashion", "vgg16-fashion")
        for criterion in ("fpgm", "l2", "bn_gamma", "random", "reconstruction")
        for allocation in ("allocated", "by time", "uniform")
        for macs in (0.5, 0.35)
        for way in ("repair", "repair, trained", "repair, distilled")
        if (network, allocation, macs) != ("vgg16-fashion", "uniform", 0.35)
    ]
    grown = sources({"recovery": {"ways": ways, "unpruned": {"resnet20-fashion": 0.94, "vgg16-fashion": 0.93}}})
    request = Request(grown, lambda width: fl.figures.style("cvpr", width))
    figure, table = MAKERS["accuracy_recovered"](request), MAKERS["table_recovered"](request)
    assert isinstance(figure, Item)
    assert isinstance(table, Item)
    assert (figure.width, len(figure.content.axes), len(figure.data)) == ("page", 2, 20)
    assert figure.data["low"].to_numpy() == pytest.approx(figure.data["value"] - 0.0025)
    assert "3 seeds" in figure.caption
    settings = re.findall(r"emph\{(.+?)\}", str(table.content))
    assert settings == [
        *(rf"resnet20-fashion, uniform, {macs}\,\% of the MACs" for macs in (50, 35)),
        *(rf"vgg16-fashion, allocated, {macs}\,\% of the MACs" for macs in (50, 35)),
    ]
    drawn.clear()
    figure.content.draw_without_rendering()
    check_texts(figure.content, drawn, least=6.0)


def test_what_cannot_be_drawn_is_named(tmp_path: Path):
    for arguments, error, message in [
        ({"venue": "screen"}, ValueError, "'cvpr', 'neurips', 'ieee'; not 'screen'"),
        ({"only": ["acuracy_macs"]}, ValueError, "did you mean 'accuracy_macs'"),
        ({"results": tmp_path / "nowhere"}, FileNotFoundError, "no folder"),
        ({"results": tmp_path}, ValueError, "no .json, .parquet or .csv"),
        ({"results": 3}, TypeError, "got int"),
        ({"results": {"mine": MINE.drop(columns="value")}}, ValueError, "missing: 'value'"),
        (
            {"results": {"mine": MINE.assign(macs=40e6)}},
            ValueError,
            "row 0: 'macs' is 40000000.0; it must be a fraction",
        ),
        ({"only": "acuracy_macs"}, ValueError, "did you mean 'accuracy_macs'"),
        ({"results": {"nothing": None}}, ValueError, "no stored study 'nothing'"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            fl.paper(**({"only": ["table_criteria"], "to": tmp_path / "out"} | arguments))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"value": [0.93, 0.932, 93.1, 0.9]}, "mine, row 2: 'value' is 93.1; it must be the accuracy"),
        ({"value": 93.1}, "as a fraction, 0 to 1. Percent? Give value=0.931"),
        ({"value": ["93.1"] * 4}, "row 0: 'value' is '93.1'"),
        ({"value": ["0.931"] * 4}, "Give it as a number, value=0.931"),
        ({"value": [0.93, 0.932, -0.1, 0.9]}, "row 2: 'value' is -0.1"),
        ({"value": [0.93, np.nan, 0.9, 0.9]}, "row 1: 'value' is nan"),
        ({"macs": True}, "row 0: 'macs' is True"),
        ({"macs": np.inf}, "row 0: 'macs' is inf"),
        ({"method": [*"abc", None]}, "row 3: 'method' is empty"),
        ({"stage": "fine-tuned"}, "unknown stage 'fine-tuned': There are: 'repaired', 'recovered'"),
        ({"stage": "Repaired"}, "did you mean 'repaired'"),
        ({"ms": 0.0}, "row 0: 'ms' is 0.0; it must be milliseconds above 0"),
        ({"seeds": 2.5}, "row 0: 'seeds' is 2.5"),
        ({"low": 0.9}, "'low' and 'high' go together"),
        ({"low": 0.95, "high": 0.85}, "low <= value <= high must hold; got low=0.95, value=0.93, high=0.85"),
        ({"low": 0.94, "high": 0.95}, "got low=0.94, value=0.93"),
        ({"low": 0.9, "high": 1.01}, "'high' is 1.01"),
    ],
)  # fmt: skip
def test_what_ones_own_rows_cannot_hold_is_named_by_row_and_column(columns: dict[str, object], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        sources({"mine": MINE.assign(**columns)})


def mine(**columns: object) -> Request:
    frame = pd.DataFrame({"network": "resnet20-fashion", "method": "peak", "macs": 0.5, "value": 0.925} | columns,
                         index=range(2 if any(isinstance(each, list) for each in columns.values()) else 1))  # fmt: skip
    return Request(sources({"mine": frame}), lambda width: fl.figures.style("cvpr", width))


@pytest.mark.parametrize("method", ["FPGM", "fpgm", "BN gamma", "bn_gamma", "OpenVINO, INT8"])
def test_ones_own_method_of_a_stored_name_is_called_ones_own(method: str):
    request = mine(method=method, ms=3.0)
    for name in ("accuracy_macs", "accuracy_ms", "table_criteria"):
        item = MAKERS[name](request)
        assert isinstance(item, Item)
        shown = item.data.groupby("method")["value"].apply(list)
        assert shown[f"{method} (own)"] == [0.925]
        if isinstance(item.content, Figure):
            assert f"{method} (own)" in [text.get_text() for text in item.content.legends[0].get_texts()]
    stored = MAKERS["table_criteria"](Request(sources(None), request.style))
    assert isinstance(stored, Item)
    others = [line for line in str(item.content).splitlines() if "(own)" not in line]
    assert others == str(stored.content).splitlines()


def test_without_the_stored_study_ones_own_method_keeps_its_name():
    frame = pd.DataFrame({"network": "a", "method": ["FPGM", "FPGM (own)"], "macs": 0.5, "value": 0.9})
    apart = {"reconstruction": None, "recovery": None}
    assert list(sources({"mine": frame} | apart).own["method"]) == ["FPGM", "FPGM (own)"]
    assert list(sources({"mine": frame}).own["method"]) == ["FPGM (own) (own)", "FPGM (own)"]


def test_alike_rows_of_two_tables_are_seeds_of_one():
    own = sources({"one": MINE[:1], "two": MINE[1:2].assign(seeds=1)}).own
    assert (len(own), own["seeds"].item(), own["value"].item()) == (1, 2, pytest.approx(0.931))


def test_measured_macs_stand_below_their_budget_unless_they_would_fall_together():
    def heads(request: Request) -> list[str]:
        return re.findall(r"[\d.]+(?=\\,\\%)", str(criteria(request).content).split(r"\midrule")[0])

    assert heads(mine(macs=0.497)) == ["50", "35", "25"]
    assert heads(mine(method=["a", "b"], macs=[0.497, 0.503])) == ["50", "35", "25"]
    assert heads(mine(macs=[0.497, 0.503])) == ["50.3", "50.0", "49.7", "35.0", "25.0"]


def test_a_caption_says_of_which_intervals_it_shows():
    def caption(alone: bool, **columns: object) -> str:
        request = mine(**columns)
        own = Request(sources({"own": request.sources.own, "reconstruction": None}), request.style)
        return MAKERS["accuracy_macs"](own if alone else request).caption

    assert "One draw each: no intervals." in caption(True)
    assert "no intervals" not in caption(True, low=0.92, high=0.93)
    assert "Bars: intervals. Intervals as given with the rows: peak." in caption(True, low=0.92, high=0.93)
    assert r"Bars: 95\,\% intervals over 5 draws. Measured" in caption(True, low=0.92, high=0.93, seeds=5)
    assert "No intervals." in caption(True, seeds=5)
    assert "(none where there was one draw)" in caption(False)
    assert "draws. Intervals as given with the rows: peak." in caption(False, low=0.92, high=0.93)


def test_the_name_of_one_figure_or_table_will_do(tmp_path: Path):
    assert list(fl.paper(None, to=tmp_path, only="table_detector", progress=False)["name"]) == ["table_detector"]


def test_the_digits_of_a_table_are_those_of_the_study():
    item = criteria(Request(sources(None), lambda width: fl.figures.style("cvpr", width)))
    study = sources(None).study("reconstruction", "networks", "vgg16-fashion", "after_repair", "fpgm", "0.25")
    assert isinstance(item, Item)
    half = (study["high"] - study["low"]) / 2
    shown = re.search(
        r"vgg16.*?^FPGM.*?& \$([\d.]+) \\pm ([\d.]+)\$ \\\\$", str(item.content), re.MULTILINE | re.DOTALL
    )
    assert float(shown[1]) == pytest.approx(study["mean"], abs=0.5 * 10 ** -decimals(half) + 1e-9)
    assert float(shown[2]) == pytest.approx(half, abs=0.5 * 10 ** -decimals(half) + 1e-9)


def built(folder: Path, name: str) -> str:
    """Build a document twice and return what LaTeX says; it must not fail."""
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:]
    return (folder / f"{name}.log").read_text(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("venue", PRINTED)
def test_the_full_set_and_its_documents(venue: str, tmp_path: Path):
    started = time.process_time()
    index = fl.paper(None, venue, tmp_path)
    assert time.process_time() - started < 60  # on one core, whatever else the machine does
    assert list(index["name"]) == list(MAKERS)
    assert (index["left_out"] == "").all()
    for row in index[index["kind"] == "figure"].to_dict("records"):
        content = (tmp_path / row["file"]).read_bytes()
        box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", content)
        assert float(box[1]) == pytest.approx(72 * WIDTHS.get((venue, row["width"]), 5.5), abs=0.01), row["name"]
        assert float(box[2]) < 72 * 8.9
        assert b"/Type3" not in content.replace(b" ", b"")
        if shutil.which("pdffonts"):
            fonts = subprocess.run(
                ["pdffonts", tmp_path / row["file"]], capture_output=True, text=True, check=True
            ).stdout
            assert "TrueType" in fonts
            assert "Type 3" not in fonts
    if shutil.which("pdflatex") is None:
        assert os.environ.get("FPGMLAB_REQUIRE_TEX") != "1", "FPGMLAB_REQUIRE_TEX=1, but there is no pdflatex"
        pytest.skip("no TeX: apt install texlive-latex-recommended texlive-fonts-recommended")
    for name in ("paper", "supplement"):
        log = built(tmp_path, name)
        assert not [width for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(width) > 1], log
        assert "undefined" not in log
        if name == "paper" and venue != "neurips":  # which has one column
            assert "(2 pages" in log
