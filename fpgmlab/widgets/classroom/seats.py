"""What a visitor's desk tells the class: a name, the plans that were measured there, and what they cost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from ipywidgets import HTML, HBox, Layout, Text, VBox

from fpgmlab.common.files import write_text
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.classroom.board import clean_name, read_seat
from fpgmlab.widgets.desk.editor import PlanEditor

FOLDER = "FPGMLAB_CLASSROOM"  # environment variables that the classroom sets: where to tell it,
SEAT = "HTTP_X_SEAT"  # and the number of the visitor's desk, the same when the page is loaded again
PLANS = 100  # the newest count
_NETWORKS = {"pruned": "as cut", "repaired": "repaired", "fine-tuned": "fine-tuned"}  # what was measured, in words


def join_class(editor: PlanEditor) -> VBox:
    """Show a desk that tells the class of its plans, below a field for the visitor's name.

    What was measured is told to the teacher's page of ``make classroom``, with the plan. Elsewhere the desk stands
    alone.

    Parameters
    ----------
    editor : PlanEditor

    Returns
    -------
    ipywidgets.VBox
    """
    folder, number = os.environ.get(FOLDER, ""), os.environ.get(SEAT, "")
    if not folder or not (number.isascii() and number.isdigit()):
        return VBox([editor])
    return _Seat(editor, Path(folder) / f"{int(number)}.json", f"desk {int(number)}").box


class _Seat:
    """Writes what a desk has measured into a file whenever that changes, and takes up what the file holds already."""

    def __init__(self, editor: PlanEditor, path: Path, name: str) -> None:
        self._editor, self._path, self._name, self._written = editor, path, name, ""
        self._lock = threading.Lock()
        before = read_seat(path)
        self._plans: dict[str, dict[str, Any]] = {} if before is None else before["plans"]
        if before is not None:
            self._take_up(before["plan"])
        given = "" if before is None or before["name"] == name else before["name"]
        self._field = Text(given, description="Your name", placeholder=name, layout=Layout(width="22rem"))
        self._field.continuous_update = False
        words = HTML("Plans that you measure are shown to the class.")
        self.box = VBox([HBox([self._field, words]), editor])
        self._field.observe(self._tell, "value")
        editor.observe(self._tell, ["results", "plan"])
        self._tell()

    def _take_up(self, plan: dict) -> None:
        try:
            self._editor.plan = Plan.from_json(json.dumps(plan))
        except ValueError:  # of another network
            self._plans = {}

    def _tell(self, change: object = None) -> None:
        with self._lock:
            editor = self._editor
            metric = editor.metric
            for plan, measured in dict(editor._shop.measured).items():
                networks = {
                    _NETWORKS[kind]: {"value": row[metric], "samples": row.get("samples")}
                    for kind, row in measured.items()
                    if metric in row
                }
                self._plans[plan.to_json()] = self._cost(plan) | {"networks": networks, "plan": _data(plan)}
            record = {
                "name": clean_name(self._field.value) or self._name,
                "metric": metric,
                "plan": _data(editor.plan),
                "unpruned": self._cost(None) | {"value": editor._curves.base.get(metric)},
                "plans": dict(list(self._plans.items())[-PLANS:]),
            }
            text = json.dumps(record)
            if text != self._written:
                write_text(self._path, text)
                self._written = text

    def _cost(self, plan: Plan | None) -> dict[str, float | None]:
        graph, table = self._editor._graph, self._editor._table
        share = graph.cost(plan).macs / graph.cost().macs
        return {"macs": share, "ms": None if table is None else table.latency(graph, plan)}


def _data(plan: Plan) -> dict:
    return json.loads(plan.to_json())
