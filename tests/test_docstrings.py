"""Every public name is documented, and what its docstring shows is what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

import fpgmlab as fl
from tests.docstrings import PUBLISHED, Thing, lacks, public, raised

PACKAGE = Path(fl.__file__).parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_there_are_names_to_look_at():
    names = {thing.name for thing in public()}
    assert len(names) > 400
    assert {"sweep", "Plan.uniform", "criteria.FPGM", "Extra.loss", "widgets.PlanEditor.wait"} <= names
    assert set(PUBLISHED) <= names
    assert {thing.room for thing in public()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_each_public_name_says_what_it_takes_gives_and_refuses(room: str):
    missing = {thing.name: lacks(thing) for thing in public() if thing.room == room}
    assert {name: words for name, words in missing.items() if words} == {}


# What the check itself finds: each of these lacks one thing.


def _nothing(points):
    pass


def _unnamed(points, metric):
    """Return the distances."""


def _extra(points):
    """Return the points.

    Parameters
    ----------
    points : object
    order : int
    """


def _no_shape(points: Tensor) -> None:
    """Take the points."""


def _no_return(points) -> str:
    """Look at the points."""


def _no_error(points) -> None:
    """Look at the points."""
    if points is None:
        raise ValueError("none")


def _by_helper(points) -> None:
    """Look at the points."""
    _no_error(points)


def _no_unit(timeout) -> None:
    """Wait.

    Parameters
    ----------
    timeout : float
        At most.
    """


def _section(points) -> None:
    """Look at the points.

    Parameters
    ----------
    points : object

    Parameters
    ----------
    points : object
    """


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_nothing, "says nothing"),
        (_unnamed, "parameters that are not told: points, metric"),
        (_extra, "parameters that there are not: order"),
        (_no_shape, "no shape of points"),
        (_no_return, "what it returns (str)"),
        (_no_error, "errors that are not told: ValueError"),
        (_no_unit, "no unit of timeout"),
        (_section, "is not read by numpydoc: The section Parameters appears twice"),
    ],
)
def test_what_is_missing_is_found(function, words):
    (found,) = lacks(Thing("function", function))
    assert found.startswith(words)


def test_errors_are_those_of_the_function_and_of_the_helpers_that_it_calls():
    assert raised(fl.criteria.score_table) == {"ValueError"}
    assert raised(fl.recovery.fit) >= {"ImportError"}  # only in a helper
