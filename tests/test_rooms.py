"""The rooms: imports go down the table and never in a circle, every public name is where it always was."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from operator import attrgetter
from pathlib import Path

import pytest

import fpgmlab as fl
from tests.kept import notebooks

PACKAGE = Path(fl.__file__).parent
ROOT = PACKAGE.parent
# The rooms in the order in which data goes through them: a file imports only from rooms above its own.
ROOMS = [
    "errors", "common", "geometry", "checkpoints", "graph", "plans", "criteria", "surgery", "models", "tasks",
    "recovery", "deployment", "sensitivity", "allocation", "runs", "studies", "course", "figures", "widgets",
]  # fmt: skip
MAIN = PACKAGE / "__main__.py"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path not in (PACKAGE / "__init__.py", MAIN))
# Every public name of version 0.1.0. New ones may come; these stay.
PUBLIC = """
ChannelGraph ChannelGroup Cost Curves Distill ExportReport Extra GammaL1 LatencyTable Plan TracingError additivity
agreement allocate compare_criteria crosscheck evaluate export_onnx fit gammas latency latency_table load provenance
prune recalibrate save score simulate sweep trace
allocation.LatencyTable allocation.additivity allocation.allocate allocation.equal_loss allocation.latency_table
allocation.predicted
assets.Asset assets.AssetError assets.Url assets.Wheel assets.available assets.fetch assets.state_dict
criteria.BNGamma criteria.Criterion criteria.Custom criteria.FPGM criteria.FPGMMix criteria.L1 criteria.L2
criteria.NAMED criteria.REDUCTIONS criteria.Random criteria.filters criteria.gammas criteria.score
figures.VENUES figures.additivity figures.clustered_order figures.desk figures.detections figures.distance_matrix
figures.filter_map figures.filter_tiles figures.gamma_before_after figures.gamma_histogram figures.gamma_ridgeline
figures.gamma_summary figures.new_figure figures.norm_distributions figures.norm_requirements
figures.norms_and_distances figures.pareto_front figures.pictures figures.plan_bars figures.rank_agreement
figures.ranking_table figures.recovery figures.save_figure figures.score_bars figures.score_table
figures.scores_by_layer figures.sensitivity_curves figures.sensitivity_map figures.sensitivity_ranking
figures.slimming_curve figures.style figures.tradeoff
geometry.DISTANCES geometry.GeometricMedian geometry.PCA geometry.classical_mds geometry.distance_sums
geometry.geometric_median geometry.greedy_order geometry.medoid geometry.pairwise_distances geometry.pca
models.YOLOv5 models.available models.build models.load models.resnet110 models.resnet20 models.resnet32
models.resnet56 models.vgg16 models.yolov5
sensitivity.Curves sensitivity.ReplayError sensitivity.replaying sensitivity.shipped sensitivity.sweep
tasks.BoxAugment tasks.BoxedPictures tasks.Classification tasks.Detection tasks.PPYOLOEHead tasks.PPYOLOEMaps
tasks.UltralyticsHead tasks.UltralyticsMaps tasks.YOLOv5Head tasks.coco_boxes tasks.evaluate tasks.fashion_mnist
tasks.image_folder tasks.shift_and_flip tasks.trees tasks.yolo_boxes
thresholds.GlobalCut thresholds.floors thresholds.global_cut thresholds.least_kept
widgets.FilterExplorer widgets.FilterScene widgets.FilterView widgets.GammaPanel widgets.GammaView widgets.PlanEditor
widgets.SweepPanel widgets.filter_scene widgets.filter_view widgets.gamma_view
""".split()  # noqa: SIM905
HEAVY = (
    "torchvision", "pandas", "scipy", "matplotlib", "ipywidgets", "onnx", "onnxruntime", "torchmetrics",
    "torch_pruning",
)  # fmt: skip


def name_of(path: Path) -> str:
    """Return a file's dotted name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(path: Path) -> dict[str, int]:
    """Return what a file imports of this package, by dotted name, with the line; also within functions."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found[node.module] = node.lineno
            for alias in node.names:  # a module of a package
                inner = ROOT / node.module.replace(".", "/") / alias.name
                if inner.with_suffix(".py").is_file() or (inner / "__init__.py").is_file():
                    found[f"{node.module}.{alias.name}"] = node.lineno
    return {name: line for name, line in found.items() if name.split(".")[0] in ("fpgmlab", "torch_pruning")}


def test_the_top_level_is_the_table_of_rooms():
    listed = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert listed == {*ROOMS[1:], "__init__.py", "__init__.pyi", "__main__.py", "errors.py", "py.typed"}
    assert len(ROOMS) - 1 <= 18


def test_the_command_line_is_in_its_room():
    rooms = {"fpgmlab.course", "fpgmlab.course.copying", "fpgmlab.runs", "fpgmlab.runs.command"}
    assert set(imports_of(MAIN)) <= rooms


def test_there_are_rooms_to_look_at():
    assert len(MODULES) > 150


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_table_of_rooms(path: Path):
    room = name_of(path).split(".")[1]
    for name, line in imports_of(path).items():
        if name.startswith("torch_pruning"):
            assert path.stem == "crosscheck", f"line {line} imports torch-pruning"
        elif "." in name:
            other = name.split(".")[1]
            assert ROOMS.index(other) <= ROOMS.index(room), f"line {line} imports {name}, which is below it"


def test_no_modules_import_each_other_in_a_circle():
    # A package stands for its __init__.py: who imports from a package needs all that it imports.
    graph = {name_of(path): {n for n in imports_of(path) if n.startswith("fpgmlab.")} for path in MODULES}
    known = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in known[name]:
                visit(other, (*above, name))
            done.add(name)

    for name in known:
        visit(name, ())


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_a_room_opens_with_what_it_is_for(path: Path):
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert len(text) > 30, "say what it is for"
    if path.parent.parent == PACKAGE and path.parent.name != "figures":
        assert "In: " in text, "say what goes in"
        assert "Out: " in text, "say what comes out"


@pytest.mark.parametrize("suffix", ["py", "js", "css"])
def test_no_file_is_long(suffix: str):
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in PACKAGE.rglob(f"*.{suffix}")}
    assert lengths
    assert {name: length for name, length in lengths.items() if length > 260} == {}


# What each step may not import, one after the other in a fresh interpreter: what is dear, and what is optional.
CHEAP = {
    "fpgmlab": HEAVY,
    "fpgmlab.checkpoints.assets": ("pandas", "tqdm", "torchvision", "pip"),
    "fpgmlab.models.yolov5": ("pandas", "tqdm", "torchvision"),
    **dict.fromkeys(
        [f"fpgmlab.{room}" for room in ROOMS[1:] if room not in ("figures", "widgets")],
        ("matplotlib", "ipywidgets", "traitlets"),
    ),
    "fpgmlab.figures": ("matplotlib.pyplot",),
}


def test_no_import_pulls_in_what_is_heavy_or_not_its_business():
    script = (
        "import importlib, sys, torch; before, broken = set(sys.modules), []\n"
        f"for name, dear in {CHEAP!r}.items():\n"
        "    importlib.import_module(name)\n"
        "    broken += [f'{name}: {m}' for m in dear if m in set(sys.modules) - before]\n"
        "print(broken)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_of_before_are_there(name: str):
    assert attrgetter(name)(fl) is not None


def test_every_public_name_has_a_docstring():
    assert len(fl.__all__) > 40
    for name in fl.__all__:
        assert getattr(fl, name).__doc__, f"fpgmlab.{name} has no docstring"


def test_the_stub_says_where_each_name_really_is():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    told = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, (
                    f"{alias.name}: only 'as {alias.name}' makes it public to type checkers"
                )
                told[alias.name] = f"fpgmlab.{node.module}" if node.module else "fpgmlab"
    assert set(told) == set(fl.__all__)
    for name, module in told.items():
        __import__(module)
        assert getattr(sys.modules[module], name) is getattr(fl, name), f"{module}.{name}"
    assert set(ROOMS[1:]) <= set(told), "every room can be reached from fpgmlab"


@pytest.mark.parametrize("room", ROOMS[1:])
def test_what_a_room_exports_is_there(room: str):
    module = getattr(fl, room)
    for name in module.__all__:
        assert getattr(module, name) is not None


def dotted_names() -> list[str]:
    """Return every dotted name below ``fl`` that README, COMING_FROM and the notebooks use."""
    texts = [(ROOT / page).read_text() for page in ("README.md", "COMING_FROM.md")]
    for content in notebooks().values():
        cells = json.loads(content)["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return sorted({name for text in texts for name in re.findall(r"\bfl\.((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)", text)})


def test_each_dotted_name_of_the_pages_works_as_the_first_line():
    names = dotted_names()
    assert len(names) > 60
    # A fresh interpreter for each would take a second each: one process that forgets this package in between. What a
    # room has as soon as it is there needs no second look.
    script = f"""
import sys, torch
from operator import attrgetter

def fresh():
    for module in [m for m in sys.modules if m == "fpgmlab" or m.startswith("fpgmlab.")]:
        del sys.modules[module]
    import fpgmlab
    return fpgmlab

there, broken = {{}}, []
for name in {names!r}:
    first, *rest = name.split(".")
    try:
        if first not in there:
            there[first] = set(vars(attrgetter(first)(fresh())))
        if len(rest) > 1 or not there[first].issuperset(rest):
            attrgetter(name)(fresh())
    except AttributeError as error:
        broken.append(f"fl.{{name}}: {{error}}")
print(broken)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stdout + run.stderr
