"""Bars that go when they are done, also from the file of a notebook."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from fpgmlab.common.bars import progress_bar

CELLS = (
    "from fpgmlab.common.bars import progress_bar\nfor _ in progress_bar(range(3), desc='all'): pass",
    "bar = progress_bar(total=4, desc='cut short')\nbar.update(3)\nbar.close()",
    "bar = progress_bar(range(3), progress=False)\nlist(bar), bar.close()",
)


def test_in_a_notebook_no_widget_is_left_behind():
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    done = NotebookClient(nbformat.v4.new_notebook(cells=cells), kernel_name="python3", timeout=60).execute()
    all_of, cut_short, hidden = (cell["outputs"] for cell in done.cells)
    assert [dict(each["data"]) for each in all_of] == [{"text/plain": ""}]
    (said,) = cut_short
    assert list(said["data"]) == ["text/plain"]
    assert said["data"]["text/plain"].startswith("cut short:  75%")
    assert [each["data"]["text/plain"] for each in hidden] == ["([0, 1, 2], None)"]


def test_in_a_terminal_it_is_tqdms(capsys: pytest.CaptureFixture[str]):
    assert list(progress_bar(range(3), desc="here", mininterval=0)) == [0, 1, 2]
    told = capsys.readouterr().err
    assert "here: 100%" in told
    assert told.endswith("\r")  # wiped
    assert list(progress_bar(range(3), progress=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
