"""Names in figures."""

from __future__ import annotations

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fpgmlab.figures.parts import all_shortened, text_width

STAGES = [f"backbone.stage_{i}_features.{kind}_expand" for i in range(2) for kind in ("wide", "deep")]


@pytest.fixture(autouse=True)
def _letters():
    with mpl.rc_context({"xtick.labelsize": 7.0}):
        yield


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text("ab.", min_size=1, max_size=40), min_size=1, max_size=8, unique=True), st.floats(30, 200))
def test_names_that_were_different_stay_different_when_they_are_shortened(names: list[str], points: float):
    short = all_shortened(names, points)
    assert len(set(short)) == len(names)
    for name, text in zip(names, short, strict=True):
        assert text == name or text_width(name) > points


def test_what_only_one_name_has_is_left_of_it():
    names = [f"backbone.stage_{i}_features.convolution_expand" for i in range(2)]
    assert all_shortened([*names, "classifier"], text_width("…stage_0_features…xpand")) == [
        "…stage_0_features…xpand", "…stage_1_features…xpand", "classifier",
    ]  # fmt: skip


def test_stage_and_block_both_stay_where_there_is_room_for_them():
    names = [f"blocks.{stage}.{block}.conv_pwl" for stage in range(1, 7) for block in range(3)]
    assert all_shortened(names, text_width("…1.0.conv_pwl") + 1) == [name.replace("blocks.", "…") for name in names]
    narrow = all_shortened(names, text_width("…1.0…onv_pwl"))
    assert [text[:4] for text in narrow] == [f"…{name.removeprefix('blocks.')[:3]}" for name in names]


def test_where_there_is_no_room_for_that_their_places_tell_them_apart():
    assert all_shortened(STAGES, text_width("…expand")) == [f"{i} …expand" for i in range(1, 5)]
