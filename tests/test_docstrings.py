"""Every public name is documented, and what its docstring shows is what comes out."""

from __future__ import annotations

import doctest
import importlib
from io import StringIO
from pathlib import Path

import pytest
import torch
from docutils.core import publish_doctree
from sphinx.ext.napoleon import Config, NumpyDocstring
from torch import Tensor

import fpgmlab as fl
from tests.docstrings import PUBLISHED, Thing, lacks, public, raised

PACKAGE = Path(fl.__file__).parent
WITH_EXAMPLES = [str(p.relative_to(PACKAGE)) for p in sorted(PACKAGE.rglob("*/*.py")) if ">>> " in p.read_text()]
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


def test_sphinx_makes_pages_of_them_without_a_warning():
    settings = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)  # as in book/conf.py
    told: dict[str, str] = {}
    for thing in public():
        what = "class" if isinstance(thing.it, type) else "function"
        lines = NumpyDocstring(thing.text.splitlines(), settings, None, what, thing.name, thing.it).lines()
        words = StringIO()
        publish_doctree("\n".join(lines), settings_overrides={"warning_stream": words, "report_level": 2})
        if words.getvalue():
            told[thing.name] = words.getvalue()
    assert told == {}


# Examples ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun() -> dict[str, object]:
    """Return what the lines of the package's own docstring make: all examples go on from there."""
    names: dict[str, object] = {}
    lines = doctest.DocTestParser().get_doctest(str(fl.__doc__), names, "fpgmlab", None, 0)
    assert doctest.DocTestRunner().run(lines, clear_globs=False).failed == 0
    return lines.globs


@pytest.mark.parametrize("path", WITH_EXAMPLES)
def test_what_an_example_shows_is_what_comes_out(path: str, begun: dict[str, object]):
    module = importlib.import_module("fpgmlab." + path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    found = [test for test in doctest.DocTestFinder().find(module, globs={**vars(module), **begun}) if test.examples]
    assert found
    told: list[str] = []
    for example in found:
        torch.manual_seed(0)
        doctest.DocTestRunner().run(example, out=told.append)
    assert "".join(told) == ""


def test_what_is_used_most_has_an_example():
    shown = {thing.name for thing in public() if ">>> " in thing.text}
    assert len(shown) > 50
    often = "trace score Plan.uniform prune simulate evaluate sweep allocate repair recalibrate fit provenance"
    assert set(often.split()) <= shown


# What the check itself finds: each of these lacks one thing -----------------------------------------------------------


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


def _no_place(points) -> None:
    """Look at the points, as `fpgmlab.geometry.look` has it; see `fpgmlab.geometry.medoid`."""


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
        (_no_place, "leads nowhere: fpgmlab.geometry.look"),
        (_section, "is not read by numpydoc: The section Parameters appears twice"),
    ],
)
def test_what_is_missing_is_found(function, words):
    (found,) = lacks(Thing("function", function))
    assert found.startswith(words)


def test_errors_are_those_of_the_function_and_of_the_helpers_that_it_calls():
    assert raised(fl.criteria.score_table) == {"ValueError"}
    assert raised(fl.recovery.fit) >= {"ImportError"}  # only in a helper
