"""``import fpgmlab`` is cheap, and the layers of the house hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fpgmlab as fl

PACKAGE = Path(fl.__file__).parent
# The rooms, top to bottom: a file imports only from rows above its own.
ROOMS = [
    "errors", "files", "unpickling", "assets", "widths", "modules", "labels", "movement", "layers", "recorder",
    "tracing", "geometry", "grouping", "cutting", "costs", "graph", "crosscheck", "criteria", "rounding", "budgets",
    "thresholds", "plan_files", "plan", "comparison", "provenance", "surgery", "weights", "models", "tasks",
    "recalibration", "sensitivity", "allocation", "extras", "training", "artifacts", "runtimes", "export", "figures",
    "widgets",
]  # fmt: skip


def test_import_pulls_in_nothing_heavy():
    heavy = (
        "torchvision",
        "pandas",
        "scipy",
        "matplotlib",
        "ipywidgets",
        "onnx",
        "onnxruntime",
        "torchmetrics",
        "torch_pruning",
    )
    script = (
        "import torch, sys; before = set(sys.modules); import fpgmlab; "
        f"print([m for m in {heavy!r} if m in set(sys.modules) - before])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_every_public_name_can_be_imported_and_has_a_docstring():
    assert len(fl.__all__) > 20
    for name in fl.__all__:
        assert getattr(fl, name).__doc__, f"fpgmlab.{name} has no docstring"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_the_table_of_rooms(path: Path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("torch_pruning"):
                assert room == "crosscheck", f"{path.name} imports torch-pruning"
            if name.startswith("fpgmlab."):
                other = name.split(".")[1]
                assert ROOMS.index(other) <= ROOMS.index(room), f"{path.name} imports {name}, which is below it"
