"""The sections of a run file: which keys each may have, by the functions that they are for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import GenericAlias
from typing import Any

from fpgmlab.allocation import Fit, Repair, allocate, equal_loss, prune_gradually
from fpgmlab.criteria import score
from fpgmlab.deployment import benchmark, export_executorch, export_ncnn, export_onnx, export_openvino
from fpgmlab.deployment.runtimes import RUNTIMES
from fpgmlab.errors import few, unknown
from fpgmlab.models import available, yolov5
from fpgmlab.models.zoo import architectures, build, load
from fpgmlab.plans import Plan
from fpgmlab.recovery import fit, plan_of_zeros, repair
from fpgmlab.runs.limits import COUNT
from fpgmlab.runs.making import (
    PICKLES,
    TASKS,
    WITH_BOXES,
    WITH_GRAPH,
    imported,
    is_trained,
    named_criteria,
    named_extras,
)
from fpgmlab.runs.options import arguments_of, options_as, options_of
from fpgmlab.runs.types import Named, Option, Table
from fpgmlab.sensitivity import sweep
from fpgmlab.surgery import trace
from fpgmlab.tasks import BoxAugment, Classification, evaluate


@dataclass(frozen=True)
class Settings:
    """The section ``[run]``.

    Parameters
    ----------
    folder : str, optional
        Where the run is kept; ``outputs/`` and the file's name without its ending when left out.
    seed : int
        Of all steps, where a section gives none of its own.
    device : {"auto", "cpu", "cuda"}
        ``"auto"`` takes a GPU where there is one.
    """

    folder: str | None = None
    seed: int = 0
    device: str = "auto"


GIVEN = ("progress", "path", "task", "example_input", "check_inputs", "networks")  # by the run itself
BUDGETS = ("ratio", "macs", "params", "bytes", "latency")
BY_CURVES = ("allocate", "equal_loss")
HOW: dict[str, Callable[..., object]] = {
    "uniform": Plan.uniform,
    "allocate": allocate,
    "equal_loss": equal_loss,
    "global_threshold": Plan.global_threshold,
    "by_depth": Plan.by_depth,
    "from_ratios": Plan.from_ratios,
    "zeros": plan_of_zeros,
    "file": Plan.from_json,
}
FORMATS: dict[str, tuple[Callable[..., object], str]] = {
    "onnx": (export_onnx, "network.onnx"),
    "openvino": (export_openvino, "network.xml"),
    "ncnn": (export_ncnn, "network.ncnn.param"),
    "executorch": (export_executorch, "network.pte"),
}
# The key that a section can be given by alone: ``plan = "uniform"`` is ``[plan] how = "uniform"``.
LEADING = {
    "run": "folder", "model": "name", "task": "name", "score": "criterion", "plan": "how", "export": "format",
}  # fmt: skip
Given = Mapping[str, Any]
BUILDER = Option("builder", str, None, text="'module:function': what makes one of your own, with its [.arguments].")


def table_for(section: str, given: Given, mistakes: list[str]) -> Table | None:
    """Return what a section may hold, which may depend on what it holds; None where that cannot be told.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.
    given : mapping
    mistakes : list of str
        Why it cannot be told is added.
    """
    make = SECTIONS[section]
    return make if isinstance(make, Table) else make(given, mistakes)


def _model(given: Given, mistakes: list[str]) -> Table | None:
    name = Option("name", str, None, text="One that ships, or an architecture, which is built untrained.")
    file = Option("file", str, None, text="What fpgmlab.save wrote, or a .pt file of YOLOv5.")
    leading = {key for key in ("name", "file", "builder") if key in given}
    if leading not in ({"name"}, {"file"}, {"builder"}, {"file", "builder"}):
        mistakes.append(
            "model: give 'name' or 'file' or 'builder' (or 'file' and the 'builder' of a fresh network for it); got "
            + (few(given) or "none")
        )
        return None
    if "builder" in leading:
        return _built("model", given, {"file": file}, mistakes)
    if "file" in leading:
        pickle = Path(str(given["file"])).suffix in PICKLES
        return Table({"file": file, **(options_of(yolov5, ("weights",)) if pickle else {})})
    if is_trained(given["name"]):
        return Table({"name": name, **options_of(load, ("name", "device"))})
    if given["name"] not in architectures():
        mistakes.append(f"model.name: {unknown('network', given['name'], [*available(), *architectures()])}")
        return None
    return Table({"name": name, **options_of(build, ("architecture",))})


def _task(given: Given, mistakes: list[str]) -> Table | None:
    held = "Training examples to choose by; the validation data become those to test."
    common = {
        "holdout": Option("holdout", int, None, text=held, limit=COUNT),
        "subset": Option("subset", Table(options_of(Classification.subset)), None, text="A random part of the data."),
    }
    name = given.get("name")
    if ("name" in given) == ("builder" in given) or not isinstance(name, str | None):
        listed = ", ".join(map(repr, TASKS))
        mistakes.append(f"task: give 'name' ({listed}) or 'builder'; got {few(given) or 'none'}")
        return None
    if name is None:
        return _built("task", given, common, mistakes)
    if name not in TASKS:
        mistakes.append(f"task.name: {unknown('task', name, TASKS)}")
        return None
    if name in WITH_BOXES:
        common["augment"] = Option("augment", Table(options_of(BoxAugment)), None, text="See fpgmlab.tasks.BoxAugment.")
    return Table({**options_of(TASKS[name], ("name", "progress")), "name": Option("name", str), **common})


def _built(place: str, given: Given, more: Mapping[str, Option], mistakes: list[str]) -> Table | None:
    try:
        arguments = arguments_of(imported(given["builder"]))
    except ValueError as error:
        mistakes.append(f"{place}.builder: {error}")
        return None
    own = Option("arguments", dict[str, Any] if arguments is None else arguments)
    if arguments is None or not any(option.required for option in arguments.options.values()):
        own = replace(own, default=None)
    return Table({"builder": BUILDER, "arguments": own, **more})


def _plan(given: Given, mistakes: list[str]) -> Table | None:
    how = given.get("how")
    if not isinstance(how, str) or how not in HOW:
        missing = f"plan: give 'how', one of {', '.join(map(repr, HOW))}"
        mistakes.append(missing if how is None else f"plan.how: {unknown('plan', how, HOW)}")
        return None
    own = {"how": Option("how", str)}
    if how == "file":
        return Table({**own, "file": Option("file", str, text="As Plan.to_json and the desk write it.")})
    options = options_of(HOW[how])
    if "metric" in options:
        options["metric"] = replace(options["metric"], choices=())  # a task may have others
    if how == "allocate":
        options["table"] = Option("table", str, None, text="The file of a fpgmlab.latency_table, for latency.")
    budgets = [name for name in BUDGETS if name in options]
    if budgets and sum(name in given for name in budgets) != 1:
        got = ", ".join(name for name in budgets if name in given) or "none"
        mistakes.append(f"plan: give exactly one of {', '.join(budgets)}; got {got}")
    return Table({**own, **options})


def _export(given: Given, mistakes: list[str]) -> Table | None:
    kind = given.get("format", "onnx")
    if not isinstance(kind, str) or kind not in FORMATS:
        mistakes.append(f"export.format: {unknown('format', kind, FORMATS)}")
        return None
    own = {
        "format": Option("format", str, "onnx"),
        "decoded": Option("decoded", bool, False, text="Of a YOLOv5: boxes in place of its raw maps."),
    }
    return Table({**own, **options_of(FORMATS[kind][0], (*GIVEN, "model"))})


def criteria() -> Named:
    """Return what ``score.criterion`` may be."""
    tables = {name: Table(options_of(found, (*GIVEN, "seed"))) for name, found in named_criteria().items()}
    return Named("criterion", tables)


def extras() -> Named:
    """Return what each of ``fit.extras`` may be."""
    teacher = Option("teacher", str, None, text="The file of another network to learn from than the unpruned one.")
    tables = {name: options_of(found) for name, found in named_extras().items()}
    tables["distill"]["teacher"] = teacher
    return Named("extra", {name: Table(options) for name, options in tables.items()})


def _score() -> Table:
    criterion = Option("criterion", criteria(), "fpgm", text="A name, or a table with 'name' and options.")
    return Table({**options_of(score, (*GIVEN, "groups")), "criterion": criterion})


def _sweep() -> Table:
    file = Option("file", str, None, text="Curves that are there, as Curves.save writes them, in place of a sweep.")
    return Table({**options_of(sweep, GIVEN), "file": file})


def _fit() -> Table:
    several = GenericAlias(list, (extras(),))
    more = Option("extras", several, (), text="A list of names, or of tables with 'name' and options.")
    return Table({**options_of(fit, (*GIVEN, "checkpoint")), "extras": more})


def _gradual() -> Table:
    tables = {"repair": options_as(Repair, repair), "fit": options_as(Fit, fit), "recalibrate": {}}
    no_graph = extras().without(WITH_GRAPH)  # which changes with each step
    tables["fit"]["extras"] = Option("extras", GenericAlias(list, (no_graph,)), (), text="As of [fit].")
    between = Named("part", {name: Table(options) for name, options in tables.items()})
    own = {
        "criterion": Option("criterion", criteria(), "fpgm", text="As of [score]."),
        "between": Option("between", GenericAlias(list, (between,)), ("repair",), text="What is done after each cut."),
        "sweep": Option("sweep", Table(options_of(sweep, GIVEN)), None, text="As [sweep], with allocate = true."),
    }
    return Table({**options_of(prune_gradually, GIVEN), **own})


def _benchmark() -> Table:
    options = options_of(benchmark, GIVEN)
    return Table({**options, "runtimes": replace(options["runtimes"], choices=tuple(RUNTIMES))})


def _evaluate() -> Table:
    options = options_of(evaluate, GIVEN)
    text = "The test data where the task has some, else the validation data."
    return Table({**options, "split": replace(options["split"], default=None, text=text)})


SECTIONS: dict[str, Table | Callable[[Given, list[str]], Table | None]] = {
    "run": Table(options_of(Settings)),
    "model": _model,
    "task": _task,
    "trace": Table(options_of(trace, GIVEN)),
    "score": _score(),
    "sweep": _sweep(),
    "plan": _plan,
    "repair": Table(options_of(repair, GIVEN)),
    "gradual": _gradual(),
    "fit": _fit(),
    "evaluate": _evaluate(),
    "export": _export,
    "benchmark": _benchmark(),
}
