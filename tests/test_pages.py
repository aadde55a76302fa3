"""The pages for those who work on the project name files, functions and commands that exist."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from operator import attrgetter
from pathlib import Path
from types import FunctionType

import pytest

import fpgmlab as fl

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "README.md")
PAGES = {name: (ROOT / name).read_text() for name in NAMES}
OVERVIEW, RECIPES = PAGES["ARCHITECTURE.md"].split("## Recipes")
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "fpgmlab").rglob("*.py")}


def paths(text: str) -> set[str]:
    """Return the files and folders between backticks, and those that are linked."""
    quoted = re.findall(r"`([\w./]+(?:\.(?:py|md|js|css|sh)|/))`", text)
    return {*quoted, *re.findall(r"\]\(([\w./]+)\)", text)}


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_exist(page: str):
    named = paths(OVERVIEW if page == "ARCHITECTURE.md" else PAGES[page])
    assert len(named) > 5
    for name in named - {"findings/NAME.sh", "outputs/quickstart/"}:
        assert (ROOT / name).exists() or (ROOT / "fpgmlab" / name).exists(), name


def test_a_recipe_names_a_free_place_and_files_that_exist():
    for recipe in RECIPES.split("### ")[1:]:
        prose = re.sub(r"```.*?```", "", recipe, flags=re.DOTALL)
        new, *others = re.findall(r"`((?:fpgmlab|tests)/[\w./]+)`", prose) or [""]
        if not new:
            assert "None of the library's files" in prose
            continue
        if "traced operation" not in prose:
            assert not (ROOT / new).exists(), f"{new}: the example has become real"
        for name in (new, *others):
            parent = (ROOT / name).parent
            assert parent.is_dir() or parent.parent.is_dir(), name
        for name in re.findall(r"\(`([\w/]+\.py)`\)", prose):
            assert (ROOT / "fpgmlab" / name).is_file(), name


def test_the_functions_on_the_way_of_a_plan_exist_where_it_says():
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", OVERVIEW, re.MULTILINE)[1:]
    assert len(rows) == 16
    for step, told, where in rows:
        for name in re.findall(r"`fl\.(\w+)`", step):
            assert hasattr(fl, name), name
        places = [f"fpgmlab/{name}" for name in paths(where)]
        texts = [text for path, text in SOURCES.items() if any(path.startswith(place) for place in places)]
        for name in re.findall(r"`(\w+)`", told):
            assert any(re.search(rf"(def|class) {name}\b", text) for text in texts), f"{name} in {where}"


def test_every_room_is_in_the_picture():
    picture = OVERVIEW.split("```")[1]
    rooms = {path.name for path in (ROOT / "fpgmlab").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(re.findall(r"\w+", picture))


def test_each_command_exists_and_is_listed_by_help():
    code = "\n".join(re.findall(r"```sh\n.*?```|`make [^`]*`", "\n".join(PAGES.values()), re.DOTALL))
    named = set(re.findall(r"\bmake (?:[A-Z_]+='[^']*' )?([a-z-]+)", code))
    assert named == {"venv", "lint", "test", "test-slow", "lab", "demo", "classroom", "book", "book-quick", "wheels"}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = {line.split()[0] for line in shown.stdout.splitlines()}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets == listed


def test_the_changelog_has_this_version_and_what_is_to_come():
    headings = re.findall(r"^## \[(.+?)\]", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert fl.__version__ in headings
    kinds = set(re.findall(r"^### (.+)$", PAGES["CHANGELOG.md"], re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for name in re.findall(r"`fl\.(\w+)", PAGES["CHANGELOG.md"]):
        assert hasattr(fl, name), name


# What the pages call by these names, for their methods.
KINDS = {
    "fl": fl, "graph": fl.ChannelGraph, "plan": fl.Plan, "curves": fl.Curves, "task": fl.tasks.Classification,
    "editor": fl.widgets.PlanEditor,
}  # fmt: skip


@pytest.mark.parametrize("page", ["README.md", "COMING_FROM.md", "CRITERIA.md", "DEPLOYMENT.md", "CHANGELOG.md"])
def test_each_call_on_a_page_has_the_arguments_that_there_are(page: str):
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```python[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    calls = [call for code in (*blocks, *spans) for call in calls_in(code)]
    assert len(calls) > 10
    for call in calls:
        first, *names = ast.unparse(call.func).split(".")
        if first not in KINDS or not names or not all(name.isidentifier() for name in names):
            continue
        called = attrgetter(".".join(names))(KINDS[first])
        bound = first != "fl" and isinstance(inspect.getattr_static(KINDS[first], names[0]), FunctionType)
        given = [None] * (len(call.args) + bound)
        named = {word.arg: None for word in call.keywords if word.arg}
        elided = "..." in ast.unparse(call) or not call.args  # or a name with brackets, as in prose
        signature = inspect.signature(called)
        try:
            (signature.bind_partial if elided else signature.bind)(*given, **named)
        except TypeError as error:
            raise AssertionError(f"{page}: {ast.unparse(call)}: {error}") from error


@pytest.mark.parametrize("page", ["README.md", "COMING_FROM.md", "CRITERIA.md", "DEPLOYMENT.md"])
def test_a_block_copied_as_it_stands_throws_no_result_away(page: str):
    """A name that gets another value before anybody has read the first one: the alternative has won."""
    for code in re.findall(r"^```python[^\n]*\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL):
        unread: set[str] = set()
        for statement in ast.parse(code).body:
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            unread -= {node.id for node in names if isinstance(node.ctx, ast.Load)}
            if isinstance(statement, ast.Assign):
                new = {node.id for node in names if isinstance(node.ctx, ast.Store)}
                assert not new & unread, f"{page}: {ast.unparse(statement)}"
                unread |= new


def calls_in(code: str) -> list[ast.Call]:
    """Return the calls in Python, and none of what is not Python."""
    try:
        return [node for node in ast.walk(ast.parse(code.strip())) if isinstance(node, ast.Call)]
    except SyntaxError:
        return []
