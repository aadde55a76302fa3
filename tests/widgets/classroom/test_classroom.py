"""A class at one machine: kernels that share what is loaded, turns at the cores, the teacher's page."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from fpgmlab.widgets.classroom.warm import prepared
from tests.widgets.classroom.visitors import ROOT, Visitor, board, classroom, kernels, memory

if sys.platform != "linux":
    pytest.skip("kernels are forked on Linux only", allow_module_level=True)

CELLS = {
    "parameters": "pictures = 200",
    "prepare": """import os
from pathlib import Path
import torch
import fpgmlab as fl
ballast = torch.ones(50 << 20)  # 200 MB
task = fl.tasks.Classification(
    train=torch.utils.data.TensorDataset(torch.rand(pictures, 3, 16, 16), torch.arange(pictures) % 10),
    val=torch.utils.data.TensorDataset(torch.rand(pictures, 3, 16, 16), torch.arange(pictures) % 10),
    classes=10,
)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
)
graph = fl.trace(model, task.example_input)
curves = fl.sweep(graph, fl.score(graph, "fpgm"), task, progress=False)
prepared_in = os.getpid()
written_to = Path("plans_of_all").absolute()
written_to.mkdir()
os.chdir(written_to)""",
    "": """assert os.getppid() == prepared_in or os.getpid() == prepared_in
assert ballast.sum() == ballast.numel()
assert Path.cwd() == written_to
editor = fl.widgets.PlanEditor(graph, curves, task, multiple=1, path=fl.widgets.class_path())
fl.widgets.join_class(editor)""",
}


@pytest.fixture(scope="module")
def open_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen]]:
    cells = [
        nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []}) for tag, source in CELLS.items()
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("class") / "desk.ipynb"
    nbformat.write(notebook, path)
    with classroom(path, "--visitors=3") as opened:
        yield opened


def test_three_visitors_draw_and_measure_on_what_was_loaded_once(open_class: tuple[str, subprocess.Popen]):
    url, process = open_class
    with ThreadPoolExecutor(1) as beside:  # the browser's tests of this process leave a loop running
        beside.submit(asyncio.run, _visit(url, process)).result()


async def _visit(url: str, process: subprocess.Popen) -> None:
    before = memory(process)
    visitors = [Visitor(url) for _ in range(3)]
    for visitor in visitors:
        await visitor.open()
    assert len(kernels(process)) == 3
    assert not [load for visitor in visitors for load in visitor.loads], "a class has no network"
    assert "503" in str(await _refused(url))
    first = visitors[0]
    whole = first.state["kept"]
    await first.drag([whole[0] // 2, *whole[1:]])
    assert first.state["kept"] != whole
    await asyncio.gather(*(visitor.measured(samples=200) for visitor in visitors))
    await asyncio.gather(*(visitor.evaluate() for visitor in visitors))
    # Each alone would hold more than the 200 MB of the prepared cell, and torch.
    assert (memory(process) - before) / 3 < 150
    field = next(key for key, each in first.widgets.items() if each.get("description") == "Your name")
    await first.set(field, value="<i>Ada</i>")
    await asyncio.sleep(2)
    page = board(url, by="macs", percent="100")
    assert "3 desks open. 1 plan measured." in page
    assert "&lt;i&gt;Ada&lt;/i&gt;" in page
    assert "desk 2" not in page, "who has drawn nothing has no plan"
    kept, cookie = first.state["kept"], first.cookie
    for visitor in visitors:
        await visitor.leave()
    end = time.monotonic() + 20
    while kernels(process) and time.monotonic() < end:
        await asyncio.sleep(0.1)
    assert kernels(process) == []
    again = Visitor(url)
    again.cookie = cookie
    await again.open()
    assert again.state["kept"] == kept, "a page that is loaded again has its plan again"
    assert "1 desk open. 1 plan measured." in board(url, percent="60")
    await again.close()


async def _refused(url: str) -> Exception | None:
    try:
        await Visitor(url).open()
    except Exception as error:
        return error
    return None


def test_the_teachers_page_takes_any_question(open_class: tuple[str, subprocess.Popen]):
    url, _ = open_class
    for query in ({"by": "bytes"}, {"percent": "nan"}, {"percent": "x"}, {"percent": "-3", "by": "<b>"}):
        assert "desk" in board(url, **query)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{url}teacher/../plans/1.json", timeout=10)


def test_without_a_notebook_the_command_says_how_it_is_called(tmp_path: Path):
    command = [sys.executable, "-m", "fpgmlab.widgets.classroom"]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 1
    assert "which notebook? python -m fpgmlab.widgets.classroom notebooks/" in run.stderr


def test_without_prepared_cells_no_class_is_opened(tmp_path: Path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    nbformat.write(notebook, tmp_path / "desk.ipynb")
    with pytest.raises(ValueError, match="no cell of desk.ipynb has the tag 'prepare'"):
        prepared(tmp_path / "desk.ipynb")
