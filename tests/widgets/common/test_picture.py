"""What a notebook keeps of a panel: a picture and words beside the live view, in the notebook and as HTML."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator

import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image

import fpgmlab as fl
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.common.picture import MOST

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def panels() -> Iterator[dict[str, Panel]]:
    task = fl.tasks.fashion_mnist().subset(train=8, val=32)
    graph = fl.trace(fl.models.load("resnet20-fashion"), task.example_input)
    curves, widgets = fl.sensitivity.shipped("resnet20-fashion"), fl.widgets
    sweep = widgets.SweepPanel(graph, fl.score(graph), task, ratios=(0.3,), metrics="accuracy")
    assert "image/png" not in sweep._repr_mimebundle_()[0]  # nothing is measured yet
    sweep.start()
    sweep.wait()
    made = {
        "desk": widgets.PlanEditor(graph, curves, task, measure=None),
        "explorer": widgets.FilterExplorer(graph, group="layer1.0.conv1"),
        "gammas": widgets.GammaPanel(graph),
        "sweep": sweep,
    }
    yield made
    for panel in made.values():
        panel.close()


def shown(panel: Panel) -> dict:
    data, _ = panel._repr_mimebundle_()
    return data


@pytest.mark.parametrize("name", ["desk", "explorer", "gammas", "sweep"])
def test_a_panel_has_a_picture_and_words(panels: dict, name: str):
    data = shown(panels[name])
    assert set(data) == {"text/plain", VIEW, "image/png"}
    assert data[VIEW]["model_id"] == panels[name].model_id
    assert type(panels[name]).__name__ in data["text/plain"]
    assert "0x" not in data["text/plain"]
    png = base64.b64decode(data["image/png"])
    assert len(png) <= MOST
    picture = Image.open(io.BytesIO(png))
    assert picture.width > 300
    assert len(picture.getcolors()) > 4


def test_the_picture_is_of_the_plan_on_the_desk(panels: dict):
    desk, before = panels["desk"], shown(panels["desk"])
    desk.plan = fl.Plan.uniform(desk._graph, desk._scores, 0.5)
    after = shown(desk)
    assert after["image/png"] != before["image/png"]
    assert "50.0% of the MACs" not in before["text/plain"]
    cost = desk._graph.cost(desk.plan).macs / desk._graph.cost().macs
    assert f"{cost:.1%} of the MACs" in after["text/plain"]


def test_it_takes_a_moment(panels: dict):
    shown(panels["desk"])
    begun = time.process_time()
    shown(panels["desk"])
    assert time.process_time() - begun < 1.5  # 0.2 s where nothing else runs


def test_html_shows_the_picture_where_no_kernel_runs(panels: dict):
    cells = []
    for panel in panels.values():
        output = nbformat.v4.new_output("execute_result", data=shown(panel), execution_count=1)
        cells.append(nbformat.v4.new_code_cell("panel", outputs=[output], execution_count=1))
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    assert len(re.findall(r'<img[^>]* src="data:image/png;base64,', html)) == len(panels)


def test_voila_saves_nothing(panels: dict, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    assert set(shown(panels["desk"])) == {"text/plain", VIEW}


def test_what_cannot_be_drawn_is_shown_all_the_same(panels: dict, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(panels["desk"], "_picture", fail, raising=False)
    assert set(shown(panels["desk"])) == {"text/plain", VIEW}
