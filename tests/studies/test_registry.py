"""The stored studies: each has its head, a command that exists, and a place in the table."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

import fpgmlab as fl
from fpgmlab.studies.tables import HEAD

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "data" / "results").glob("*.json"))
CONTENT = {path.stem: json.loads(path.read_text()) for path in FILES}
FIGURES = {name for name, content in CONTENT.items() if {"figures", "versions", "git"} <= set(content)}
STUDIES = {name: content for name, content in CONTENT.items() if name not in FIGURES}
# A commit of this repository behind the version of the package; the container has no checkout.
VERSION = re.compile(r"\d+\.\d+\.\d+(\+[0-9a-f]{7}(\.dirty)?)?")


def commands() -> list[tuple[str, str]]:
    """Return every command of a study and of its parts, with the study's name."""
    found = []
    for name, content in STUDIES.items():
        parts = [content["study"], *(part for part in content.values() if isinstance(part, dict) and "command" in part)]
        found += [(name, part["command"]) for part in parts]
    return sorted(set(found))


def flags_of(script: Path) -> dict[str, list[str] | None]:
    """Return the flags that a script's parser knows, with their choices where these are written out."""
    flags: dict[str, list[str] | None] = {}
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            for argument in node.args:
                choices = next((word.value for word in node.keywords if word.arg == "choices"), None)
                try:
                    flags[ast.literal_eval(argument)] = choices and ast.literal_eval(choices)
                except ValueError:
                    flags[ast.literal_eval(argument)] = None
    return flags


def test_there_are_studies_and_the_rest_are_records_of_figures():
    assert len(STUDIES) >= 17
    for name in FIGURES:
        assert {f"{name}.pdf", f"{name}.png"} <= set(CONTENT[name]["figures"])


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_begins_with_its_head(name: str):
    assert next(iter(STUDIES[name])) == "study"
    head = STUDIES[name]["study"]
    assert list(head) == list(HEAD)
    assert head["name"] == name
    for part in [head, *(p for p in STUDIES[name].values() if isinstance(p, dict) and "date" in p)]:
        assert pd.Timestamp(part["date"]).year >= 2026
        assert part["date"] <= head["date"]
        assert VERSION.fullmatch(part["version"])
        assert part["machine"]


@pytest.mark.parametrize(("name", "command"), commands())
def test_a_command_of_a_study_exists_and_takes_these_flags(name: str, command: str):
    words = shlex.split(command)
    if words[0] != "python":
        assert os.access(ROOT / words[0], os.X_OK)
        return
    script = ROOT / (words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1])
    assert script.is_file()
    text = script.read_text()
    assert f'"{name}"' in text, "it writes another study"
    assert "studies.record(" in text, "it writes no head"
    rest, known = words[3 if words[1] == "-m" else 2 :], flags_of(script)
    for flag, value in zip(rest[::2], rest[1::2], strict=True):
        assert flag in known
        assert known[flag] is None or value in known[flag]


def test_every_benchmark_that_writes_a_study_is_stored():
    writing = [path for path in (ROOT / "tests" / "benchmarks").glob("*.py") if "studies.record(" in path.read_text()]
    assert {path.stem for path in writing} == set(STUDIES) - {"container"}


def test_the_table_has_every_study():
    table = fl.results()
    assert list(table["name"]) == sorted(STUDIES)
    assert set(table.columns) >= {*HEAD, "figures", "claims", "path"}
    assert (table["figures"] > 0).all()
    for row in table.itertuples():
        assert (ROOT / row.path).is_file()
        assert fl.studies.load(row.name) == STUDIES[row.name]
        assert row.table == (ROOT / row.path).with_suffix(".parquet").is_file()


def test_numbers_are_counted_and_truth_values_and_heads_are_not(studies: Path):
    assert fl.results().set_index("name").loc["small", "figures"] == 9


def test_rows_come_as_tables(studies: Path):
    rows = pd.DataFrame([{"way": "a", "points": 1.0}, {"way": "b", "points": -2.5}])
    pd.testing.assert_frame_equal(fl.studies.table("small", "part/rows"), rows)
    pd.testing.assert_frame_equal(fl.studies.table("small", ["part", "rows"]), rows)
    named = pd.DataFrame({"name": ["x", "y/z"], "value": [1, 2]})
    pd.testing.assert_frame_equal(fl.studies.table("small", "named"), named)
    columns = fl.studies.table("small", ["deep", {"seed": 1}, "history"])
    pd.testing.assert_frame_equal(columns, pd.DataFrame({"step": [0, 1]}))
    pd.testing.assert_frame_equal(fl.studies.frame("small"), rows)


def test_what_is_not_there_is_told_with_what_is(studies: Path):
    with pytest.raises(ValueError, match="unknown study 'smal': did you mean 'small'"):
        fl.studies.load("smal")
    with pytest.raises(ValueError, match=r"part/row: unknown key 'row': did you mean 'rows'"):
        fl.studies.table("small", "part/row")
    with pytest.raises(ValueError, match=r"'small' has no rows at 'flag', but bool True"):
        fl.studies.table("small", "flag")
    with pytest.raises(ValueError, match="unknown table of a study 'other'"):
        fl.studies.frame("other")
    with pytest.raises(ValueError, match=r"deep\[seed=3\]: 0 of 2 rows"):
        fl.studies.table("small", ["deep", {"seed": 3}])


def test_a_head_is_of_today_of_this_machine_and_of_this_code():
    head = fl.studies.record("mine", title="My study", command="python mine.py --part a")["study"]
    assert list(head) == list(HEAD)
    assert VERSION.fullmatch(head["version"])
    assert head["version"].startswith(fl.__version__)
    assert abs(pd.Timestamp(head["date"]) - pd.Timestamp.now("UTC").tz_localize(None)) < pd.Timedelta(days=2)
    assert head["machine"] == fl.studies.machine()
    assert fl.studies.part("c", machine="another")["machine"] == "another"
