"""What a visitor's desk tells the class: a name, and the plans that were measured there, with what they cost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ipywidgets import HTML, HBox, Layout, Text, VBox

from fpgmlab.common.files import write_text
from fpgmlab.plans.plan import Plan
from fpgmlab.widgets.classroom.board import clean_name, read_seat
from fpgmlab.widgets.common.later import Later
from fpgmlab.widgets.common.seat import FOLDER, seat
from fpgmlab.widgets.desk.editor import PlanEditor
from fpgmlab.widgets.desk.live.memory import plan_digest

PLANS = 200  # the newest count
_GATHER = 0.5  # seconds in which changes are gathered
_NETWORKS = {"pruned": "as cut", "repaired": "repaired", "fine-tuned": "fine-tuned"}  # what jobs measure, in words


def class_path() -> Path | None:
    """Return the file in which a desk of ``make classroom`` keeps its state, for ``PlanEditor(path=)``; else None."""
    number = seat()
    return None if number is None else Path(os.environ[FOLDER]) / f"desk-{number}.json"


def join_class(editor: PlanEditor) -> VBox:
    """Show a desk that tells the class of its plans, below a field for the visitor's name.

    What is measured on all pictures is told to the teacher's page of ``make classroom``. Elsewhere the desk stands
    alone.

    Parameters
    ----------
    editor : PlanEditor

    Returns
    -------
    ipywidgets.VBox
    """
    number = seat()
    return VBox([editor]) if number is None else _Seat(editor, Path(os.environ[FOLDER]) / f"{number}.json", number).box


class _Seat:
    """Writes what a desk has measured into a file, soon after that changes."""

    def __init__(self, editor: PlanEditor, path: Path, number: int) -> None:
        self._editor, self._path, self._name, self._written = editor, path, f"desk {number}", ""
        before = read_seat(path)
        given = "" if before is None or before["name"] == self._name else before["name"]
        self._field = Text(given, description="Your name", placeholder=self._name, layout=Layout(width="22rem"))
        self._field.continuous_update = False
        hint = HTML("Plans that you measure are shown to the class.")
        line = HBox([self._field, hint], layout=Layout(flex_flow="row wrap"))  # on a phone: below each other
        self.box = VBox([line, editor])
        self._write()
        later = Later(self._write, _GATHER)
        self._field.observe(lambda change: later.ask(), "value")
        editor.observe(lambda change: later.ask(), ["results", "points"])

    def _write(self) -> None:
        editor = self._editor
        with editor._lock:
            name, metric = clean_name(self._field.value) or self._name, editor.metric
            unpruned = self._cost(editor._bars.nothing) | {"value": editor._curves.base.get(metric or "")}
            plans = {} if metric is None else self._plans(metric)
            record = {"name": name, "metric": metric, "unpruned": unpruned, "plans": plans}
        text = json.dumps(record)
        if text != self._written:
            write_text(self._path, text)
            self._written = text

    def _plans(self, metric: str) -> dict[str, Any]:
        """Return what was measured on all pictures: what is so on a few may be luck; of plans that remove something."""
        editor = self._editor
        found: dict[str, Any] = {}
        nothing = plan_digest(editor._bars.nothing)  # each desk begins with it: the unpruned network is nobody's plan
        whole = editor._bars.totals(editor._bars.nothing)["macs"] or 1
        for digest, entry in editor._live.agenda.memory.entries():
            networks = {
                name: {"value": stage.found[metric].value, "samples": stage.samples}
                for name, stage in entry.stages.items()
                if stage.complete and metric in stage.found
            }
            if networks and digest != nothing:
                found[digest] = {"macs": entry.macs / whole, "ms": entry.latency, "networks": networks}
        for plan, measured in editor._shop.measured.items():
            if not any(plan.removed.values()):
                continue
            here = found.setdefault(plan_digest(plan), self._cost(plan) | {"networks": {}})
            for kind, row in measured.items():
                if metric in row:
                    here["networks"][_NETWORKS[kind]] = {"value": row[metric], "samples": row.get("samples")}
        return dict(list(found.items())[-PLANS:])

    def _cost(self, plan: Plan) -> dict[str, float | None]:
        bars = self._editor._bars
        return {"macs": bars.share(plan, "macs"), "ms": bars.totals(plan)["latency"]}
