"""Claims: their figures are read from studies, the pages say those and no others."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fpgmlab as fl
from fpgmlab.checkpoints import read_weights
from fpgmlab.studies.claims import read_claims
from fpgmlab.studies.page import BEGIN, END, claims_table, up_to_date, with_rows, with_table
from tests.kept import notebooks
from tests.studies.prose import Figure, figures, sections

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = notebooks()
PAGES = tuple(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "data", "book")
    for path in sorted((ROOT / folder).glob("*.md"))
)
# What notebooks say outside of their exercises and answers.
CHAPTERS = tuple(f"notebooks/{name}.ipynb" for name in NOTEBOOKS)
# Docstrings that say where their figures are.
MODULES = tuple(
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "fpgmlab").rglob("*.py"))
    if "``data/results/" in path.read_text()
)
# What is no measured figure of this project, and why: page, what is written around it.
EXEMPT = {
    "asked for, not measured: budgets and plans of the tables": (
        r"(ResNet-20|VGG-16|YOLOv5n on trees, mAP@0\.5) \(\d\d\.\d\), \d\d %",
        r"of ResNet-20 at 35 % and VGG-16 at 25 % allocated",
        r"a plan for 0\.6 of the time",
        r"drag, fit and evaluate for two minutes",
        r"Repair alone has 99 % of ResNet-20's accuracy",
        r"lie within 7 % of the measured ones",
    ),
    "definitions: of intervals, quantiles and rates": (
        r"95 % (interval|of the evaluations)", r"at most four times a second",
    ),
    "bounds of what notebooks take, held by tests/notebooks": (
        r"\| [23] minutes \|", r"\*\*It takes\*\* (about |under )?(two to )?(two|three) minutes",
    ),
    "figures of papers, told as theirs": (
        r"42 % fewer FLOPs made its ResNet-18 28 % faster", r"at 70 % of the channels: 93\.77 % → 32\.54 % → 93\.78 %",
        r"93\.77 % → 32\.54 % → 93\.78 %", r"arXiv:1805\.06361",
    ),
    "settings of data, checkpoints and lessons": (
        r"less than 30 % of its area", r"Nesterov momentum 0\.9, learning rate 0\.1 with 5 % warm-up",
        r"with 5 % warm-up", r"learning rate 0\.1\b", r"learning rate 0\.002, weight decay 0\.02",
        r"weight decay 0\.02",
        r"decay 0\.99", r"at ratios 0\.1, 0\.2, ... 0\.9", r"0\.2, ... 0\.9", r"... 0\.9, channels",
        r"\*By hand\*: 70 %", r"the first 40 minutes", r"a plan for 0\.5 of the time",
        r"50 % of the channels is 50 % of the work", r"is 50 % of the work", r"about three minutes on two CPU cores",
    ),
    "in the checkpoint's own record, see below": (r"test accuracy 92\.40 %",),
    "settings and arithmetic of a chapter": (
        r"removing 10 % and 20 %", r"about 70 % of the MACs", r"PageDown 10 %", r"lowest 40 %", r"for 70 % of the MACs",
        r"Bring the MACs to 70 %", r"numbers: 32 points", r"Four times the pictures", r"not nine times as fast",
        r"see four times as many pixels", r"four times as many numbers at once", r"less likely than 95 %",
        r"is of one point;", r"The same cuts, three times", r"overlap of 0\.5\b", r"overlaps from 0\.5\b",
        r"at least 0\.25 is taken for true", r"\b0\.[69] of (the|INT8's) time",
    ),
    "what a chapter's own cells compute where it is read": (
        r"\| 0\.\d{3} (?=\|)", r"to within 0\.005", r"are within half a point of each other", r"it is 90\.6 %",
        r"locked 90\.4 %", r"measured 59\.8 % and 60\.0 %", r"and 60\.0 %",
    ),
    "versions of other software": (
        r"Python ≥ 3\.11", r"JupyterLab 4\.6", r"Notebook 7\.6", r"Voila 0\.5", r"Safari from 17\.4",
        r"releases 4\.0 to 7\.0",
    ),
    "sizes of files": (r"notebooks; 51 MB", r"\b(31|4\.9|1\.1|3\.7|7\.1) MB"),
    "arithmetic and settings of others": (r"44\.8 of 64", r"learning rate of 0\.01 for SGD is 0\.08 here"),
}  # fmt: skip
CLAIMS = """
[[claim]]
text = "{lost} lost and {gone} gone by {way}"
study = "small"
said = ["PAGE.md: Losses"]
rows.both = ["small | {lost} | {gone} %", "again | {way} |"]

[claim.figures]
lost = { at = ["part", "rows", { way = "b" }, "points"], as = "less", unit = "points", digits = 1, interval = [["named", "x", "value"], ["named", "y/z", "value"]] }
gone = { at = ["share"], as = "gone", unit = "%" }
way = { at = ["part", "rows", "*", "points"], of = "spread", digits = 1 }
more = { at = ["named", "y/z", "value"], minus = ["share"], as = "hundred" }

[[claim]]
text = "{size} in all"
study = "other"
said = ["PAGE.md"]
figures = { size = { at = ["size"], unit = "GB", digits = 1 } }
"""  # noqa: E501


@cache
def registered() -> pd.DataFrame:
    return fl.studies.claims()


def said_on(page: str) -> dict[str, list[tuple[float, str]]]:
    """Return what claims say in each section of a page: values, also those of intervals, with their units."""
    said: dict[str, list[tuple[float, str]]] = {}
    for row in registered().itertuples():
        for place in row.pages:
            name, _, section = place.partition(": ")
            if name == page:
                values = [value for value in (row.value, row.low, row.high) if not np.isnan(value)]
                said.setdefault(section, []).extend((value, row.unit) for value in values)
    return said


def text_of(page: str) -> str:
    """Return what a page says: of the changelog what is to come, of a module the paragraphs that name a study."""
    if page in CHAPTERS:
        return chapter(page)
    text = (ROOT / page).read_text()
    if page == "CHANGELOG.md":
        return text[: text.index("\n## [0.1.0]")]
    if not page.endswith(".py"):
        return text
    nodes = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
    ]
    paragraphs = [part for node in nodes for part in (ast.get_docstring(node) or "").split("\n\n")]
    return "\n\n".join(part for part in paragraphs if "``data/results/" in part)


def chapter(page: str) -> str:
    """Return a notebook's prose as one section, without answers and without its exercises."""
    cells = json.loads(NOTEBOOKS[Path(page).stem])["cells"]
    prose = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    prose = re.sub(r"<details>.*?</details>", "", prose, flags=re.DOTALL)
    prose = re.sub(r"^## Exercises.*?(?=^## |\Z)", "", prose, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^#+ ", "", prose, flags=re.MULTILINE)


def not_registered(page: str) -> list[Figure]:
    exempt = re.compile("|".join(pattern for patterns in EXEMPT.values() for pattern in patterns))
    said, found = said_on(page), []
    for figure in figures(text_of(page)):
        spans = [match.span() for match in exempt.finditer(figure.where)]
        if any(start <= figure.offset < end for start, end in spans):
            continue
        if not any(figure.is_said_by(value, unit) for value, unit in said.get(figure.section, [])):
            found.append(figure)
    return found


@pytest.mark.parametrize("page", [*PAGES, *CHAPTERS, *MODULES])
def test_no_figure_is_in_prose_that_is_in_no_study(page: str):
    missing = [f"{figure.section}: {figure.written} in '{figure.where}'" for figure in not_registered(page)]
    assert missing == [], "register it in data/results/claims.toml, or do not say it"


def test_the_accuracy_of_a_checkpoint_is_that_of_its_record():
    rows = re.findall(r"`checkpoints/([\w-]+)` .*?test accuracy ([\d.]+) %", (ROOT / "data" / "README.md").read_text())
    assert len(rows) == 3
    for name, said in rows:
        record = read_weights(ROOT / "data" / "checkpoints" / f"{name}.safetensors").record
        assert float(said) == pytest.approx(100 * record["notes"]["test"]["accuracy"], abs=0.005)


def test_nothing_is_exempt_that_no_page_says():
    prose = " ".join(text for page in (*PAGES, *CHAPTERS) for _, text in sections(text_of(page)))
    patterns = [pattern for patterns in EXEMPT.values() for pattern in patterns]
    assert [pattern for pattern in patterns if not re.search(pattern, prose)] == []


def test_each_claim_is_said_where_it_says_so():
    pages = {page: text_of(page) for page in (*PAGES, *CHAPTERS, *MODULES)}
    for claim in read_claims():
        study = fl.studies.load(claim.study)
        for place in claim.pages:
            page, _, section = place.partition(": ")
            prose = dict(sections(pages[page]))[section]
            there = [figure for figure in figures(pages[page]) if figure.section == section]
            for measured in claim.figures:
                value = measured.value(study)
                # In a list of numbers the unit may stand behind another one.
                plain = measured.digits == 0 and re.search(rf"(?<![\d.]){value:.0f}(?!\d|\.\d)", prose)
                said = plain or any(figure.is_said_by(value, figure.unit or "") for figure in there)
                assert said, f"{place} does not say {measured.said(study)}, {{{measured.name}}} of: {claim.text}"


def test_the_tables_of_the_readme_are_up_to_date():
    text = (ROOT / "README.md").read_text()
    assert up_to_date(text) == text, "run: python -m fpgmlab.studies README.md"


def test_every_claim_has_its_figures_in_its_study():
    rows = fl.studies.claims()
    assert len(rows) > 60
    assert np.isfinite(rows["value"]).all()
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"]) | rows["low"].isna()).all()
    assert rows["command"].str.contains("tests[/.]").all()
    table = fl.results().set_index("name")
    assert set(rows["study"]) == set(table.index), "a study on which nothing stands"
    assert (table["claims"] > 0).all()


def test_figures_are_read_rounded_and_said(studies: Path):
    (studies / "claims.toml").write_text(CLAIMS)
    rows = fl.studies.claims().set_index("figure")
    assert rows.loc["lost", ["value", "low", "high"]].tolist() == [2.5, -2.0, -1.0]
    assert rows.loc["gone", "value"] == pytest.approx(57.69)
    assert rows.loc["way", "value"] == 3.5
    assert rows.loc["size", "value"] == 7.04
    assert rows.loc["more", "value"] == pytest.approx(157.69)
    assert rows.loc["lost", "claim"] == "2.5 (-2.0 to -1.0) points lost and 58 % gone by 3.5"
    assert rows.loc["lost", "key"] == "part/rows[way=b]/points"
    assert rows.loc["lost", ["command", "date"]].tolist() == ["python small.py --part part", "2026-10-01"]
    assert rows.loc["gone", ["command", "date"]].tolist() == ["python small.py", "2026-11-01"]
    assert fl.results().set_index("name")["claims"].to_dict() == {"other": 1, "small": 1}
    assert claims_table().splitlines()[-1] == (
        "| 7.0 GB in all | [other](data/results/other.json) `size` | 2026-11-02 | `python other.py` |"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('way = "b"', 'way = "c"', r"part/rows\[way=c\]: 0 of 2 rows have these values"),
        ('at = ["share"]', 'at = ["shares"]', "unknown key 'shares': did you mean 'share'"),
        ('as = "gone"', 'as = "lost"', "share: as must be one of .*'gone'.*; not 'lost'"),
        ('of = "spread"', 'of = "range"', "of must be one of 'sum'.*; not 'range'"),
        ('at = ["share"]', 'at = ["flag"]', "flag: there is True, no number"),
        ('study = "other"', 'study = "others"', "unknown study 'others': did you mean 'other'"),
    ],
)
def test_what_is_wrong_with_a_claim_is_told(studies: Path, old: str, new: str, told: str):
    assert CLAIMS.count(old) == 1
    (studies / "claims.toml").write_text(CLAIMS.replace(old, new))
    with pytest.raises(ValueError, match=told):
        fl.studies.claims()


def test_without_claims_there_are_studies(studies: Path):
    assert fl.studies.claims().empty
    assert fl.results()["claims"].tolist() == [0, 0]


def test_the_command_writes_the_table_between_the_comments(studies: Path, tmp_path: Path):
    (studies / "claims.toml").write_text(CLAIMS)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    command = [sys.executable, "-m", "fpgmlab.studies", str(page)]
    told = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert "has new figures" in told[0]
    assert "as it was" in told[1]
    assert page.read_text() == f"before\n{BEGIN}\n\n{claims_table()}\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="once each, where the table shall be"):
        with_table("no place", "table")


def test_rows_of_a_named_table_are_written_below_its_head(studies: Path):
    (studies / "claims.toml").write_text(CLAIMS.replace('at = ["share"], as = "gone"', 'at = ["share"]'))
    head = "| of | lost | gone |\n|---|---|---|\n"
    made = "| small | 2.5 (-2.0 to -1.0) | 0 % |\n| again | 3.5 | |\n"
    before = f"a\n\n<!-- rows: both -->\n\n{head}| old | 1 | 2 |\n\nb\n\n{head}| other | 1 | 2 |\n"
    after = f"a\n\n<!-- rows: both -->\n\n{head}{made}\nb\n\n{head}| other | 1 | 2 |\n"
    assert with_rows(before) == with_rows(after) == after
    with pytest.raises(ValueError, match="unknown table of claims 'bath': did you mean 'both'"):
        with_rows(before.replace("both", "bath"))


def test_figures_of_prose_are_found():
    page = f"""# One
    It loses 0.85 points (45.3 → 44.4 %) and is 1,000 times quicker, -.4 (-1.1 to +.2), in `0.7`, see [x](a/0.5.md).
    ## Two
    Half a second, two to 3 % of YOLOv5s in version-2.0 at mAP@0.5; 12 and 16 seconds; 3 cores.
    {BEGIN} 9.9 % {END}
    ```
    0.1 points
    ```
    """.replace("\n    ", "\n")
    found = [(f.section, f.value, f.digits, f.unit) for f in figures(page)]
    assert found == [
        ("One", 0.85, 2, "points"), ("One", 45.3, 1, "%"), ("One", 44.4, 1, "%"), ("One", 1000, 0, "times"),
        ("One", -0.4, 1, None), ("One", -1.1, 1, None), ("One", 0.2, 1, None),
        ("Two", 0.5, 1, "s"), ("Two", 2, 0, "%"), ("Two", 3, 0, "%"), ("Two", 12, 0, "s"), ("Two", 16, 0, "s"),
    ]  # fmt: skip


def test_a_figure_is_said_by_the_value_that_it_rounds():
    figure = Figure(44.4, 1, "%", "", "", "44.4", 0)
    assert figure.is_said_by(44.42, "%")
    assert not figure.is_said_by(44.48, "%")
    assert not figure.is_said_by(44.42, "points")
    assert Figure(44.4, 1, None, "", "", "44.4", 0).is_said_by(44.42, "points")
