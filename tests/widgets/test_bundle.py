"""The browser's side as text: joined without a build step, and with nothing from the net."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from fpgmlab.widgets import FilterExplorer, GammaPanel, PlanEditor, SweepPanel
from fpgmlab.widgets.bundle import FOLDER
from fpgmlab.widgets.explorer import ExplorerPicture

WIDGETS = [ExplorerPicture, GammaPanel, SweepPanel, PlanEditor]
FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("widget", WIDGETS)
def test_one_module_with_one_default_export(widget: type):
    text = str(widget._esm)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render };"]
    names = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)), "two files of one bundle use the same name"


def test_every_name_that_is_imported_is_in_the_bundle():
    bundles = [(str(widget._esm), widget) for widget in WIDGETS]
    seen = 0
    for path in FOLDER.glob("*.js"):
        text = path.read_text()
        own = re.findall(r"^(?:export )?function (\w+)", text, re.MULTILINE)
        for bundle, widget in bundles:
            if not all(re.search(rf"^function {name}\b", bundle, re.MULTILINE) for name in own):
                continue  # the other panel's file
            for name in re.findall(r"\w+", " ".join(re.findall(r"^import \{([^}]*)\}", text, re.MULTILINE))):
                assert re.search(rf"^(?:function|const) {name}\b", bundle, re.MULTILINE), (path.name, widget, name)
                seen += 1
    assert seen > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_the_net(path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert "@import" not in text
    assert len(text.splitlines()) <= 300


def test_without_anywidget_the_error_says_what_to_install():
    script = "import sys; sys.modules['anywidget'] = None; import fpgmlab as fl; fl.widgets.FilterExplorer"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode != 0
    assert "ImportError" in run.stderr
    assert "pip install fpgmlab[lab]" in run.stderr


def test_widgets_have_docstrings():
    assert FilterExplorer.__doc__
    assert GammaPanel.__doc__
    assert SweepPanel.__doc__
    assert PlanEditor.__doc__
