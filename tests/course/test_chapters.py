"""Each chapter opens and ends alike, asks every exercise of its own, and leads to chapters and pictures that exist."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from PIL import Image

import fpgmlab as fl
from tests.kept import ROOT, notebooks

CELLS = {name: json.loads(content)["cells"] for name, content in notebooks().items()}
CHAPTERS = sorted(set(CELLS) - {"05_classroom_desk"})  # which is shown without code, and is for a class
WRITTEN = [name for name in CHAPTERS if fl.exercises.names(int(name[:2]))]


def texts(name: str, kind: str = "markdown") -> list[str]:
    return ["".join(cell["source"]) for cell in CELLS[name] if cell["cell_type"] == kind]


def test_there_are_chapters():
    assert len(WRITTEN) >= 10


@pytest.mark.parametrize("name", WRITTEN)
def test_a_chapter_opens_with_a_question_a_picture_and_what_it_needs_and_gives(name: str):
    head = texts(name)[0]
    number = int(name[:2])
    title, question, picture = head.split("\n\n")[:3]
    assert title.startswith(f"# {number} · ")
    assert re.fullmatch(r"\*\*[^*]+\?\*\*", question)
    alt, path = re.fullmatch(r"!\[(.+)\]\((pictures/\d\d\.png)\)", picture).groups()
    assert len(alt) > 20
    assert path == f"pictures/{number:02}.png"
    places = [head.index(f"\n**{word}** ") for word in ("Needs", "Gives", "You will learn", "It takes")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", WRITTEN)
def test_its_picture_is_small_and_large_enough_to_read(name: str):
    path = ROOT / "notebooks" / "pictures" / f"{name[:2]}.png"
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert 600 <= picture.width <= 1200


@pytest.mark.parametrize("name", WRITTEN)
def test_a_chapter_ends_with_exercises_an_open_problem_and_what_was_simplified(name: str):
    headings = [h for text in texts(name) for h in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    assert headings[-3:] == ["Exercises", "An open problem", "What was simplified"]
    end = "\n\n".join(texts(name)).split("## An open problem\n\n")[1]
    problem, simplified = end.split("\n\n## What was simplified\n\n")
    assert len(problem) > 150
    assert len(simplified) > 150


@pytest.mark.parametrize("name", WRITTEN)
def test_a_chapter_asks_each_of_its_exercises_and_leaves_the_answer_open(name: str):
    cells = CELLS[name]
    asked = []
    for before, cell in pairwise(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "fl.exercises" in source:
            found = re.fullmatch(r'answer = \.\.\.  # .+\nfl\.exercises\.check\("(\d\d-\d+)", answer\)', source)
            assert found, source
            asked.append(found[1])
            assert f"**{len(asked)}.** " in "".join(before["source"])
    assert asked == fl.exercises.names(int(name[:2]))
    assert len(asked) >= 2


@pytest.mark.parametrize("name", WRITTEN)
def test_experiments_go_on_counting_and_their_answers_are_folded(name: str):
    exercises = "\n\n".join(texts(name)).split("## Exercises\n\n")[1].split("## An open problem")[0]
    experiments, answers = exercises.split("<details><summary>Answers</summary>")
    numbers = [[int(n) for n in re.findall(r"^(\d+)\. ", part, re.MULTILINE)] for part in (experiments, answers)]
    first = len(fl.exercises.names(int(name[:2]))) + 1
    assert numbers[0] == [*range(first, first + len(numbers[0]))]
    assert len(numbers[1]) > len(numbers[0]) / 2
    assert numbers[1] == sorted(set(numbers[1]) & set(numbers[0]))
    assert answers.rstrip().endswith("</details>")


@pytest.mark.parametrize("name", CELLS)
def test_links_to_other_chapters_lead_to_them(name: str):
    linked = {path for text in texts(name) for path in re.findall(r"\]\((?!http)([^)#]+)", text)}
    for path in linked:
        there = PurePosixPath(path)
        assert (ROOT / "notebooks" / there).exists(), path
        if there.suffix == ".ipynb":
            assert there.stem in CELLS


@pytest.mark.parametrize("name", CELLS)
def test_a_chapter_is_a_notebook_and_a_section_a_part_of_one(name: str):
    sections = {
        int(other[:2]): {int(n) for text in texts(other) for n in re.findall(r"^## (\d+) · ", text, re.MULTILINE)}
        for other in CELLS
    }
    said = "\n".join(texts(name) + texts(name, "code"))
    said = re.sub(r"\[(chapter \d+)\]\([^)]*\)", r"\1", " ".join(said.split()), flags=re.IGNORECASE)
    for chapter, section in re.findall(r"\b[Cc]hapters? (\d+)(?:, section (\d+))?", said):
        assert int(chapter) in sections, chapter
        assert not section or int(section) in sections[int(chapter)], f"chapter {chapter}, section {section}"
    for section in re.findall(r"(?<!\d, )\b[Ss]ections? (\d+)", said):
        assert int(section) in sections[int(name[:2])], f"section {section}"
