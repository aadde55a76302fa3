"""The teacher's page: every visitor's best within the budget; what visitors send can do no harm."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from fpgmlab.figures import class_plans
from fpgmlab.widgets.classroom.board import board, class_frame, clean_name, leaders, read_class
from fpgmlab.widgets.classroom.pages import Seats

UNPRUNED = {"macs": 1.0, "ms": 2.0, "value": 0.94}


def tell(folder: Path, desk: int, name: str, *plans: tuple[float, float, dict[str, float]], **other: object) -> None:
    """Write what a desk would: plans as MACs, milliseconds, and a value for each network."""
    told = {
        str(i): {
            "macs": macs, "ms": ms,
            "networks": {network: {"value": value, "samples": 100} for network, value in values.items()},
        }
        for i, (macs, ms, values) in enumerate(plans)
    }  # fmt: skip
    record = {"name": name, "metric": "accuracy", "unpruned": UNPRUNED, "plans": told} | other
    (folder / f"{desk}.json").write_text(json.dumps(record))


def test_everybody_has_a_place_by_the_best_plan_within_the_budget(tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.6, 1.2, {"repaired": 0.93}), (0.5, 1.0, {"as cut": 0.4, "repaired": 0.91}))
    tell(tmp_path, 2, "Grace", (0.4, 0.9, {"repaired": 0.92}))
    tell(tmp_path, 3, "Mary", (0.9, 1.9, {"repaired": 0.94}))
    frame = class_frame(read_class(tmp_path))
    assert len(frame) == 5
    first = leaders(frame, "ms", 1.0)
    assert list(first["visitor"]) == ["Grace", "Ada"]
    assert list(first["network"]) == ["repaired", "repaired"]
    assert list(first["value"]) == [0.92, 0.91]
    assert list(leaders(frame, "macs", 0.6)["visitor"]) == ["Ada", "Grace"]
    assert list(leaders(frame, "ms", 1.0, higher_is_better=False)["value"]) == [0.4, 0.92]


def test_the_page_shows_both_costs_and_the_table(tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.5, 1.0, {"as cut": 0.4, "repaired": 0.91}))
    page = board(read_class(tmp_path), "ms", 0.5)
    assert page.count("<svg") == 2
    assert "Best accuracy at 50 % of the milliseconds" in page
    assert "<td>Ada</td><td>91.00 %</td><td>repaired</td><td>50.0 %</td><td>1.000</td>" in page
    assert "No measured plan is within it yet" in board(read_class(tmp_path), "macs", 0.1)


def test_without_a_table_of_milliseconds_macs_are_shown(tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.5, None, {"repaired": 0.91}), unpruned=UNPRUNED | {"ms": None})
    page = board(read_class(tmp_path), "ms", 0.5)
    assert page.count("<svg") == 1
    assert "of the MACs" in page


def test_before_anything_is_measured_the_page_says_so(tmp_path: Path):
    assert "0 desks open. No plan was measured yet." in board(read_class(tmp_path), "ms", 0.5)
    tell(tmp_path, 1, "Ada")
    assert "1 desk open. No plan was measured yet." in board(read_class(tmp_path), "ms", 0.5)


def test_plans_are_counted_not_networks_and_closed_desks_apart(tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.5, 1.0, {"as cut": 0.4, "repaired": 0.91}), (0.6, 1.2, {"repaired": 0.93}))
    tell(tmp_path, 2, "Grace", (0.4, 0.9, {"repaired": 0.92}))
    tell(tmp_path, 3, "gone, and did nothing")
    tell(tmp_path, 4, "Mary")
    seats = read_class(tmp_path)
    assert "2 desks open, 1 closed whose plans stay here. 3 plans measured." in board(seats, "ms", 0.5, {1, 4})
    assert "<td>Grace</td>" in board(seats, "ms", 0.5, {1, 4})
    assert "4 desks open. 3 plans measured." in board(seats, "ms", 0.5)


def test_a_seat_is_open_while_its_kernel_is_there():
    seats = Seats()
    _, first = seats.of("")
    _, second = seats.of("")
    seats.kernels |= {first: "a", second: "b"}
    assert seats.opened({"a": 1, "b": 2}) == [first, second]
    assert seats.opened({"b": 2}) == [second]


def test_no_two_ticks_say_the_same_however_alike_the_values():
    rows = [("Ada", "repaired", 0.5, 1.0, value, 100.0) for value in (0.938, 0.9385)]
    frame = pd.DataFrame(rows, columns=["visitor", "network", "macs", "ms", "value", "samples"])
    figure = class_plans(frame, UNPRUNED | {"value": 0.938})
    figure.draw_without_rendering()
    (axis,) = figure.axes
    said = [label.get_text() for label in axis.get_yticklabels()]
    assert len(said) == len(set(said)) > 2
    low, high = axis.get_ylim()
    assert high - low == pytest.approx(0.04)


def test_two_of_the_same_name_are_told_apart(tmp_path: Path):
    for desk in (1, 2):
        tell(tmp_path, desk, "Ada", (0.5, 1.0, {"repaired": 0.91}))
    assert set(class_frame(read_class(tmp_path))["visitor"]) == {"Ada (desk 1)", "Ada (desk 2)"}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$\\frac{1}{$", "</svg><b>", "&amp;", "名前 😀", "a\nb\x00"]
)
def test_a_name_is_text_wherever_it_is_shown(name: str, tmp_path: Path):
    tell(tmp_path, 1, name, (0.5, 1.0, {"repaired": 0.91}))
    page = board(read_class(tmp_path), "ms", 0.5)
    for part in page.split("<svg")[1:]:
        ET.fromstring("<svg" + part[: part.index("</svg>")] + "</svg>")
    assert "<script" not in page
    assert "<b>" not in page
    table = ET.fromstring(page[page.index("<table") :])
    assert table.findall(".//tbody/tr/td")[1].text == clean_name(name)


def test_a_name_is_one_line_and_not_long():
    assert clean_name("  Ada\tLove\u2028lace  ") == "Ada Love lace"
    assert clean_name("x" * 10_000) == "x" * 40
    assert clean_name("\x00\u202e") == ""


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", '{"name": 3}', "x" * (2 << 20),
        json.dumps({"name": "A", "metric": [], "unpruned": UNPRUNED, "plans": {}}),
        json.dumps({"name": "A", "metric": "accuracy", "unpruned": UNPRUNED, "plans": {"a": 1}}),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_desk_is_left_out(text: str, tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.5, 1.0, {"repaired": 0.91}))
    (tmp_path / "2.json").write_text(text)
    (tmp_path / "notes.json").write_text("{}")
    assert [seat["name"] for seat in read_class(tmp_path)] == ["Ada"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", None, True, [1]])
def test_what_is_no_number_is_not_a_result(value: object, tmp_path: Path):
    tell(tmp_path, 1, "Ada", (0.5, 1.0, {"repaired": value}), (0.4, 0.9, {"repaired": 0.9}))
    assert class_frame(read_class(tmp_path))["value"].tolist() == [0.9]


def test_an_unknown_cost_is_told(tmp_path: Path):
    with pytest.raises(ValueError, match="cost must be one of 'ms', 'macs'; not 'bytes'"):
        leaders(pd.DataFrame(), "bytes", 1.0)
