"""Checks of exercises tell right from wrong, and do not tell the answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fpgmlab as fl
from fpgmlab.course.answers import digest
from fpgmlab.course.properties import BY_HAND, PROPERTIES
from tests.course.answers import EMPTY, ODD, RIGHT, WRONG
from tests.kept import notebooks

SOURCE = Path(fl.course.__file__).parent
TABLES = tomllib.loads((SOURCE / "exercises.toml").read_text())


@cache
def answer(name: str) -> object:
    return RIGHT[name]()


def test_every_exercise_has_its_answer_and_a_hint():
    assert set(fl.exercises.names()) == set(TABLES) == set(RIGHT) == set(WRONG)
    assert {name for name, table in TABLES.items() if table["kind"] == "property"} == set(PROPERTIES)
    for table in TABLES.values():
        assert len(table["hint"]) > 20


@pytest.mark.parametrize("name", TABLES)
def test_the_right_answer_is_right(name: str, capsys: pytest.CaptureFixture[str]):
    assert fl.exercises.right(name, answer(name))
    fl.exercises.check(name, answer(name))
    assert capsys.readouterr().out == f"{name}: right\n"


@pytest.mark.parametrize("name", TABLES)
def test_no_answer_is_not_right(name: str, capsys: pytest.CaptureFixture[str]):
    for nothing in EMPTY:
        assert not fl.exercises.right(name, nothing)
        fl.exercises.check(name, nothing)
        assert capsys.readouterr().out == f"{name}: no answer yet\n"


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_answer_is_not_right_and_gets_a_hint_that_does_not_tell(name: str, capsys: pytest.CaptureFixture[str]):
    told = str(answer(name))
    for given in [*WRONG[name], *ODD]:
        given = given() if callable(given) else given
        assert not fl.exercises.right(name, given), given
        fl.exercises.check(name, given)
        said = capsys.readouterr().out
        assert re.match(rf"{name}: not yet\. .{{15}}", said), said
        assert len(told) < 3 or told not in said.replace(repr(given), "") or TABLES[name].get("choices")


@pytest.mark.parametrize("name", TABLES)
def test_the_answer_to_another_exercise_is_wrong(name: str):
    for other in set(TABLES) - {name}:
        assert not fl.exercises.right(name, answer(other)), other


def test_a_mistake_that_is_known_gets_its_own_hint(capsys: pytest.CaptureFixture[str]):
    hints = {name: table["mistakes"].values() for name, table in TABLES.items() if "mistakes" in table}
    assert len(hints) > 10
    for name, own in hints.items():
        said = set()
        for given in WRONG[name]:
            fl.exercises.check(name, given)
            said.add(capsys.readouterr().out.partition("not yet. ")[2].strip())
        assert set(own) <= said, f"{name}: no wrong answer here leads to each hint"


def test_the_same_answer_may_be_written_in_several_ways():
    for ways in (np.float64(3), torch.tensor(3.0), 3, 3.005):
        assert fl.exercises.right("01-1", ways)
    for names in (["layer3.0.conv2", "conv1", "layer2.0.conv2"], {"conv1", "layer2.0.conv2", "layer3.0.conv2"}):
        assert fl.exercises.right("00-2", names)
    assert fl.exercises.right("00-2", pd.Index(["conv1", "layer2.0.conv2", "layer3.0.conv2"]))
    assert fl.exercises.right("01-2", torch.tensor([5, 0, 10]))
    assert fl.exercises.right("03-3", " Layer2.0.conv2 ")
    assert fl.exercises.right("06-1", np.array([-5.5, 2.0]))


def test_answers_do_not_stand_in_the_source():
    text = "".join(path.read_text() for path in (SOURCE / "exercises.toml", SOURCE / "exercises.py"))
    assert re.findall(r"[0-9a-f]{32}", text)
    for name, table in TABLES.items():
        if isinstance(answer(name), int) and answer(name) > 99:
            assert str(answer(name)) not in re.sub(r'"[0-9a-f]{32}"', "", text)
        for form in table.get("digests", []):
            assert len(form) == 32
    assert digest("00-1", "1") != digest("00-2", "1")


def test_an_unknown_exercise_is_said_to_be():
    with pytest.raises(ValueError, match="unknown exercise '06-9': did you mean '06-"):
        fl.exercises.check("06-9", 1)


def test_names_of_a_chapter():
    assert fl.exercises.names(6) == ["06-1", "06-2", "06-3"]


def test_the_plan_of_chapter_four_is_the_one_to_beat():
    cells = json.loads(notebooks()["04_plan_editor"])["cells"]
    (cell,) = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    found: dict[str, object] = {}
    exec("".join(cell["source"]), found)
    assert found["by_hand"] == BY_HAND


def test_who_writes_an_exercise_gets_its_digest():
    command = [sys.executable, "-m", "fpgmlab.course", "06-2", "1.9"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() in TABLES["06-2"]["digests"]
