"""Glossary and bibliography: in order, used, and complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from book.making.references import addresses, citing, numbered, references
from book.making.staging import OWN, chapters, project_pages

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = (ROOT / "book" / "glossary.md").read_text()
TERMS = re.findall(r"^(\w[^\n]*)\n  ", GLOSSARY.split("{glossary}")[1], re.MULTILINE)
PAGES = {
    **{name: path.read_text() for name, path in chapters().items()},
    **{str(path.relative_to(ROOT)): path.read_text() for path in project_pages()},
    **{name: (ROOT / "book" / f"{name}.md").read_text() for name in OWN if name != "glossary"},
    **{str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "fpgmlab").rglob("*.py")},
}


def test_the_words_stand_in_order():
    assert len(TERMS) > 30
    assert sorted(TERMS, key=str.lower) == TERMS


def test_the_words_of_the_design_are_among_them():
    words = "filter, channel group, ratio, kept, score, criterion, plan, sensitivity curve, task, MACs, budget, as cut"
    assert {*words.split(", "), "repaired", "recovered", "staircase"} <= set(TERMS)


@pytest.mark.parametrize("term", TERMS)
def test_each_word_is_used_on_other_pages(term: str):
    stem = re.escape(re.sub(r"(ion|ed|y)$", "", term)).replace(r"\ ", r"\s+")
    assert sum(bool(re.search(stem, text, re.IGNORECASE)) for text in PAGES.values()) >= 2


def test_what_is_called_python_is_python():
    for name, text in PAGES.items():
        if name.endswith(".md") or name in OWN:
            for block in re.findall(r"^```python[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
                ast.parse(block)  # or Sphinx warns: magics are ```ipython3


def test_each_reference_is_whole_and_cited():
    entries = references()
    for key, entry in entries.items():
        assert {"title", "year"} <= set(entry.fields), key
        assert entry.persons["author"], key
        assert {"booktitle", "journal"} & set(entry.fields), f"{key} has no venue"
        assert re.fullmatch(r"[a-z]+" + entry.fields["year"], key), key
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields.get("eprint", "1234.56789")), key
    assert set(citing(PAGES.items(), addresses(entries))) == set(entries)


def test_each_paper_that_is_linked_is_in_the_bibliography():
    known = addresses(references())
    for name, text in PAGES.items():
        linked = set(re.findall(r"\]\((https://(?:arxiv\.org/abs|doi\.org)/[^()\s]+)\)", text))
        linked |= set(numbered(text))
        assert linked <= set(known), f"{name}: {linked - set(known)} to book/references.bib"
