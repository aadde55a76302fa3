"""A page is built without a warning; all of them are, hold together, and ask nobody for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from operator import attrgetter
from pathlib import Path
from urllib.parse import unquote

import pytest

import fpgmlab as fl
from book.making.api import room_page, rooms
from book.making.executing import execute, key, record, small_settings
from book.making.site import SITE, build
from book.making.staging import BOOK, ROOT, chapters, stage

PAGE = r"""# A page

`fl.prune(graph, plan)` gives $\lVert x \rVert_2 \le 1$, and

$$\min_W \; \lVert A W - Y \rVert^2$$

<details><summary>Answer</summary>

1. **Yes**: $y = a$.

</details>

```{toctree}
api
```
"""
API = "API\n===\n\n.. autofunction:: fpgmlab.prune\n"


class Page(HTMLParser):
    """What a page loads, where it leads, and the places in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.loads.append(given["href"])
        elif tag in ("script", "img", "iframe", "source", "video") and "src" in given:
            self.loads.append(given["src"])


def test_a_page_with_all_that_chapters_have_is_built_without_a_warning(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(PAGE)
    (source / "api.rst").write_text(API)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", str(BOOK), str(source), str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "site" / "index.html").read_text()
    assert html.count("<math") == 3
    assert "<strong>Yes</strong>" in html  # what is folded is Markdown as well
    assert 'href="api.html#fpgmlab.prune"' in html
    assert not [load for load in Page(tmp_path / "site" / "index.html").loads if "://" in load]


def test_every_chapter_and_every_page_is_in_the_contents(tmp_path: Path):
    source = stage(tmp_path)
    index = (source / "index.md").read_text()
    for name in chapters():
        assert f" <notebooks/{name}>\n" in index
        assert f"](notebooks/{name}.ipynb)" in index
    assert set(small_settings()) == set(chapters())
    assert " <project/README.md>\n" in index
    for page in ("ARCHITECTURE", "DEPLOYMENT", "COMING_FROM", "CONTRIBUTING", "CHANGELOG"):
        assert f"\nproject/{page}.md\n" in index
    written = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    stage(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == written


def test_every_public_name_has_its_place_in_the_api():
    pages = "\n".join(room_page(name, room) for name, room in rooms().items())
    told = re.findall(r"^\.\. auto\w+:: (\S+)", pages, re.MULTILINE)
    told += [
        f"{module}.{name}"
        for name, module in re.findall(r"^\.\. py:data:: (\w+)\n   :module: (\S+)", pages, re.MULTILINE)
    ]
    assert len(told) == len(set(told))  # and only one
    things = [attrgetter(name.removeprefix("fpgmlab."))(fl) for name in told]
    for name in fl.__all__:
        thing = getattr(fl, name)
        assert isinstance(thing, str) or any(thing is each for each in things), name
    for room in rooms().values():
        for name in room.__all__:
            assert any(getattr(room, name) is each for each in things), f"{room.__name__}.{name}"


def test_a_notebook_that_was_run_as_it_is_now_is_not_run_again(tmp_path: Path):
    name = "05_classroom_desk"
    result = tmp_path / "executed" / f"{name}.ipynb"
    result.parent.mkdir()
    record(result).write_text(f'{{"all": "{key(name)}"}}')
    assert execute([name], tmp_path) == {}
    assert not result.exists()
    assert key(name) != key(name, full=True)


@pytest.mark.slow
def test_the_whole_book_holds_together_without_a_network(tmp_path: Path):
    assert build(tmp_path) == 0  # no warning
    site = tmp_path / SITE
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        assert not [load for load in page.loads if "://" in load or load.startswith("//")], path
        assert str(ROOT) not in path.read_text(), path
        for lead in page.leads:
            if re.match(r"[a-z]+:", lead):
                continue
            target, _, place = unquote(lead).partition("#")
            there = (path.parent / target).resolve() if target else path
            assert there.is_file(), f"{path.relative_to(site)} leads to {lead}"
            if place and there in pages:
                assert place in pages[there].places, f"{path.relative_to(site)} leads to {lead}"
    for sheet in site.rglob("*.css"):
        outside = [
            url
            for url in re.findall(r"url\(([^)]+)\)", sheet.read_text())
            if "://" in url and not url.strip("'\"").startswith("data:")
        ]
        assert not outside, sheet
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 30e6
