"""The browser's side as text: joined without a build step, and with nothing from the net."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fpgmlab as fl
from fpgmlab.widgets import FilterExplorer, GammaPanel, PlanEditor, SweepPanel
from fpgmlab.widgets.common.bundle import modules

WIDGETS = [FilterExplorer, GammaPanel, SweepPanel, PlanEditor]
FOLDER = Path(fl.__file__).parent / "widgets"
FILES = sorted(path for path in FOLDER.glob("*/static/*"))
SHEETS = [path for path in FILES if path.suffix == ".css"]
PREFIXES = {"explorer": "fl-explorer", "gammas": "fl-gamma", "sweep": "fl-sweep", "desk": "fl-desk"}
NAME = r"(?<![-\w])(?:--)?(fl-[a-z][\w-]*)"  # of a class, a variable or an animation


@pytest.mark.parametrize("widget", WIDGETS)
def test_one_module_with_one_default_export(widget: type):
    text = str(widget._esm)
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == ["export default { render };"]
    names = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)), "two files of one bundle use the same name"


def test_every_name_that_is_imported_is_exported_there():
    seen = 0
    for path in (path for path in FILES if path.suffix == ".js"):
        for names, source in re.findall(r'^import \{([^}]*)\} from "([^"]+)";', path.read_text(), re.MULTILINE):
            exported = (path.parent / source).read_text()
            for name in re.findall(r"\w+", names):
                assert re.search(rf"^export (?:function|const) {name}\b", exported, re.MULTILINE), (path.name, name)
                seen += 1
    assert seen > 80


def test_no_module_of_the_browser_is_left_out():
    entries = [FOLDER / panel / "static" / f"{panel}.js" for panel in ("explorer", "gammas", "sweep", "desk")]
    assert {path for entry in entries for path in modules(entry)} == {path for path in FILES if path.suffix == ".js"}


def test_modules_in_a_circle_are_named(tmp_path: Path):
    (tmp_path / "one.js").write_text('import { two } from "./two.js";\n')
    (tmp_path / "two.js").write_text('import { one } from "./one.js";\n')
    with pytest.raises(ValueError, match=r"circle: one.js -> two.js -> one.js"):
        modules(tmp_path / "one.js")


def names_in(panel: str, *suffixes: str) -> set[str]:
    """Return the names that begin with fl- in the files of a panel."""
    paths = [path for suffix in suffixes for path in (FOLDER / panel).rglob(f"*{suffix}")]
    return {name for path in paths for name in re.findall(NAME, path.read_text())}


def of_panel(name: str, panel: str) -> bool:
    """Return whether a name has a panel's prefix."""
    return name == PREFIXES[panel] or name.startswith(f"{PREFIXES[panel]}-")


@pytest.mark.parametrize("panel", PREFIXES)
def test_no_name_means_two_things(panel: str):
    shared = names_in("common", ".css")
    assert len(shared) > 25
    assert {name for name in shared if of_panel(name, panel)} == set()
    own = names_in(panel, ".css", ".js", ".py")
    assert len(own) > 25
    assert {name for name in own - shared if not of_panel(name, panel)} == set()


@pytest.mark.parametrize("panel", ["common", *PREFIXES])
def test_what_a_sheet_styles_is_there(panel: str):
    styled = {
        name
        for path in SHEETS
        if path.parents[1].name == panel
        for name in re.findall(r"\.(fl-[\w-]+)", path.read_text())
    }
    used = {
        name
        for each in (*PREFIXES, "common")
        if panel in (each, "common") or each == "common"
        for name in names_in(each, ".js", ".py")
    }
    stems = tuple(name for name in used if name.endswith("-"))  # of names that are put together: fl-desk-key-${mark}
    assert styled
    assert {name for name in styled - used if not name.startswith(stems or "no stem")} == set()


@pytest.mark.parametrize("path", [p for p in SHEETS if p.parents[1].name != "common"], ids=lambda path: path.name)
def test_the_rules_of_a_panel_stand_within_its_root(path: Path):
    prefix = PREFIXES[path.parents[1].name]
    begun = re.findall(r"^([^\s/}*].*) \{$", path.read_text(), re.MULTILINE)  # what is not indented
    assert f".{prefix}" in begun
    assert [rule for rule in begun if not re.fullmatch(rf"\.{prefix}|@keyframes {prefix}-.*", rule)] == []


@pytest.mark.parametrize("path", [p for p in SHEETS if p.parents[1].name == "common"], ids=lambda path: path.name)
def test_a_rule_that_panels_share_weighs_less_than_their_own(path: Path):
    selectors = re.findall(r"^([^\s/}*].*) \{$", path.read_text(), re.MULTILINE)
    assert selectors
    for selector in selectors:
        for single in re.sub(r":where\(.*?\)|:is\([\w, ]*\)|::\w+", "", selector).split(","):
            weight = len(re.findall(r"\.[\w-]+|\[|(?<!:):[a-z]", single))
            assert weight == 1 or selector == ".fl-root :focus-visible" or single.endswith(":empty"), selector


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}/{path.name}")
def test_nothing_comes_from_the_net(path: Path):
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert "@import" not in text


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
