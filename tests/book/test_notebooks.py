"""A notebook's page shows what a reader can use: no progress bars, no dead panels, nobody's folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from book.making.notebooks import INJECTED, WIDGET, fill, opening, page

ROOT = Path(__file__).resolve().parents[2]


def shown(*outputs: NotebookNode, follows: str = "*What to see in it: $x$.* More.") -> list[NotebookNode]:
    cells = [
        new_markdown_cell("# 6 · Repair"),
        new_code_cell("panel", outputs=list(outputs)),
        new_markdown_cell(follows),
    ]
    return page(new_notebook(cells=cells), "06_repair").cells


def test_a_panel_is_a_picture_and_says_how_to_run_it():
    cells = shown(new_output("display_data", data={WIDGET: {"model_id": "1"}, "image/png": "abc", "text/plain": "P()"}))
    assert cells[1].outputs[0].data == {"image/png": "abc"}
    assert "jupyter lab notebooks/06_repair.ipynb" in cells[2].source


def test_progress_is_left_out_and_what_is_printed_stays():
    bar = new_output("display_data", data={WIDGET: {"model_id": "1"}, "text/plain": "0%"})
    noise = new_output("stream", name="stderr", text="10%|#")
    told = new_output("stream", name="stdout", text=f"written to {ROOT}/outputs/x")
    cells = shown(bar, noise, told)
    assert [output.text for output in cells[1].outputs] == ["written to outputs/x"]
    assert len(cells) == 3


def test_a_caption_is_what_is_read_out_in_place_of_its_figure():
    cells = shown(new_output("display_data", data={"image/png": "abc"}))
    assert cells[1].metadata["mystnb"]["image"]["alt"] == "What to see in it: x."
    without = shown(new_output("display_data", data={"image/png": "abc"}), follows="Plain words.")
    assert "below" in without[1].metadata["mystnb"]["image"]["alt"]


def test_smaller_settings_are_told():
    cell = new_code_cell('samples = 128\noutput = "../x"', metadata={"tags": [INJECTED]})
    (box,) = page(new_notebook(cells=[cell]), "06_repair").cells
    assert box.cell_type == "markdown"
    assert "samples = 128" in box.source
    assert "../x" not in box.source
    cell = new_code_cell('output = "../x"', metadata={"tags": [INJECTED]})
    assert not page(new_notebook(cells=[cell]), "06_repair").cells


def test_an_opening_says_what_a_chapter_needs_and_gives():
    text = (
        "# 6 · Repair\n\nWhy?\n\n**Needs** [0](00.ipynb),\nand patience.\n**Gives** a network.\n\n**You will learn** it"
    )
    said = opening(new_notebook(cells=[new_markdown_cell(text)]))
    assert (said.title, said.needs, said.gives) == ("6 · Repair", "[0](00.ipynb), and patience.", "a network.")
    assert said.learn == "it"
    with pytest.raises(ValueError, match="begins with its title"):
        opening(new_notebook(cells=[new_markdown_cell("Repair")]))


def test_text_that_changed_since_a_run_keeps_what_the_code_gave():
    now = [new_code_cell("a = 2", metadata={"tags": ["parameters"]}), new_markdown_cell("new"), new_code_cell("a")]
    one = new_output("execute_result", data={"text/plain": "1"})
    then = [now[0], new_code_cell("a = 1", metadata={"tags": [INJECTED]}), new_code_cell("a", outputs=[one])]
    notebook = new_notebook(cells=now)
    fill(notebook, new_notebook(cells=then))
    assert [cell.source for cell in notebook.cells] == ["a = 2", "a = 1", "new", "a"]
    assert notebook.cells[-1].outputs == [one]


def test_a_desk_that_brings_no_picture_has_the_projects_own():
    cells = shown(new_output("display_data", data={WIDGET: {"model_id": "1"}, "text/plain": "VBox(PlanEditor)"}))
    assert not cells[1].outputs
    assert "overview.png" in cells[2].source
    assert "make lab" in cells[3].source
