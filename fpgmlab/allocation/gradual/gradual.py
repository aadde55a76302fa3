"""Gradual pruning: the loop over the steps."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fpgmlab.allocation.gradual.between import Fit, Function, Repair, parts_of
from fpgmlab.allocation.gradual.cutting import Cutter
from fpgmlab.allocation.gradual.folder import Folder, State
from fpgmlab.allocation.gradual.schedules import SCHEDULES, remaining
from fpgmlab.allocation.gradual.steps import Steps
from fpgmlab.common.bars import progress_bar
from fpgmlab.common.given import check_model, check_task
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.interrupts import tell_interrupted
from fpgmlab.common.numbers import whole_number
from fpgmlab.criteria.rules import Criterion
from fpgmlab.criteria.scoring import resolve
from fpgmlab.errors import one_of, unknown
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Multiple, check_names
from fpgmlab.sensitivity import sweep as swept_curves
from fpgmlab.surgery.tracing import trace
from fpgmlab.tasks.task import Task, check_network

if TYPE_CHECKING:
    import pandas as pd
    from tqdm.auto import tqdm

KINDS = ("macs", "params", "bytes")
OURS = ("path", "stop", "progress", "client", "on_update")  # of the sweep's options


def prune_gradually(
    model: nn.Module,
    task: Task,
    *,
    target: float | Mapping[str, float],
    steps: int = 5,
    criterion: str | Criterion = "fpgm",
    between: Sequence[Repair | Fit | Function] = (Repair(),),
    schedule: str = "cubic",
    allocate: bool = False,
    sweep: Mapping[str, Any] | None = None,
    multiple: Multiple = "runtime",
    protect: Sequence[str] = (),
    example_input: object = None,
    layers: Mapping[type[nn.Module], LayerRule] | None = None,
    max_samples: int | None = None,
    path: str | os.PathLike[str] | None = None,
    stop: Callable[[], bool] | None = None,
    on_step: Callable[[pd.DataFrame], None] | None = None,
    progress: bool = True,
) -> tuple[nn.Module, pd.DataFrame]:
    """Prune in several steps: each traces and scores the network as it is then, cuts it, and repairs or trains it.

    ::

        small, history = fl.prune_gradually(model, task, target=0.5, between=[fl.Repair(), fl.Fit(epochs=1, lr=0.01)])

    Parameters
    ----------
    model : nn.Module
        Is left as it is.
    task : task
        Its training data is what is repaired and trained by, its validation data what is swept and what the history is
        measured on.
    target : float or mapping
        What may remain in the end, as a fraction of the model: of the MACs, or ``{"params": 0.5}``, of ``"macs"``,
        ``"params"`` or ``"bytes"``. 0 < target < 1.
    steps : int
        How many cuts.
    criterion : str or Criterion
        Scores the channels, at each step anew; see `fpgmlab.score`.
    between : sequence
        What is done after each cut, in this order: `fpgmlab.Repair`, `fpgmlab.Fit`, or a function ``(graph, plan,
        network, task) -> network``, with the graph before the cut and what was cut from it. ``fl.repair``, ``fl.fit``
        and ``fl.recalibrate`` stand for themselves with their defaults.
    schedule : {"cubic", "linear"}
        How much goes when. ``"cubic"``: much at first, little at the end, as Zhu & Gupta (2017, arXiv:1710.01878, eq.
        1); ``"linear"``: as much at each step.
    allocate : bool
        Sweep the network at each step and cut it by `fpgmlab.allocate`, in place of the same fraction of every group.
        Uniform cuts leave as many channels after each step as `fpgmlab.Plan.uniform` would in one.
    sweep : mapping, optional
        Options of `fpgmlab.sweep` for that. When left out, points are repaired where a `Repair` follows, and as many
        samples looked at as for the history.
    multiple : int or "runtime"
        As for `fpgmlab.Plan.uniform`.
    protect : sequence of str
        Names of groups, layers or modules that stay whole.
    example_input : object, optional
        What the model is traced with; ``task.example_input`` when left out.
    layers : mapping of classes to LayerRule, optional
        How layers of a class of your own have their channels; see `fpgmlab.trace`.
    max_samples : int, optional
        The history is measured on the first so many validation examples; on all when left out.
    path : path-like, optional
        A folder that gets the network and the history of each step, whole or not at all. Killed at any moment and
        called again with the same arguments, the pruning goes on after its last finished step, and within a step
        after the last epoch, and ends with the identical network. `fpgmlab.load` reads ``step-003.safetensors``.
    stop : callable, optional
        Asked as often as `fpgmlab.fit` and its like ask it; when it returns True, the pruning ends as by Ctrl-C.
    on_step : callable, optional
        Called with the history so far before the first step and after each.
    progress : bool
        Show progress bars.

    Returns
    -------
    nn.Module
        The network after the last step; on Ctrl-C, after the last one that was finished. The last plan of its
        `fpgmlab.provenance` says which of the model's own channels stay, whatever the number of steps.
    pandas.DataFrame
        A row for the model, and for each step one as cut and one for each element of ``between``: step, stage, budget
        (what the schedule lets remain), macs and params (fractions that remain), channels, loss, <task.metric_name>,
        seconds. ``attrs["interrupted"]`` tells whether steps are missing.

    Raises
    ------
    ValueError
        For options out of range, a target that cannot be reached, with the least that can, a task without pictures to
        repair by, a ``path`` that holds another pruning, with what differs.
    TypeError
        For what is no element of ``between``, or no network that a function there returned.
    RuntimeError
        When the network is traced otherwise once it is pruned.
    FloatingPointError
        As `fpgmlab.fit`; the steps before are in ``path``.

    Notes
    -----
    Several cuts with nothing but repairs between them give ResNet-20 a little more at a third of its MACs than one cut
    that is repaired (0.3 to 0.4 points, two draws), and nothing elsewhere; in the one run that was measured, three
    epochs were worth more in one piece after a single cut than spread over three (``data/results/gradual.json``).
    """
    check_model(model, "fl.prune_gradually(model, task, target=...)")
    check_task(task, "fl.prune_gradually(model, task, target=...)")
    check_network(task, model)
    kind, value = _target(target)
    whole_number("steps", steps)
    if schedule not in SCHEDULES:
        raise ValueError(one_of("schedule", schedule, SCHEDULES))
    parts = parts_of(between)
    example_input = getattr(task, "example_input", None) if example_input is None else example_input
    if example_input is None:
        raise ValueError(f"{type(task).__name__} has no example_input to trace with: pass example_input=")
    swept = _swept(allocate, sweep, max_samples, any(isinstance(part, Repair) for part in parts))
    graph = trace(model, example_input, layers=layers or {})
    asked: dict[str, Any] = {kind: value}
    resolve(criterion)
    flat = {name: torch.zeros(group.channels) for name, group in graph.items()}
    Plan.uniform(graph, flat, **asked, multiple=multiple, protect=protect)  # can it be reached?
    for part in parts:
        part.check(task)
    cutter = Cutter(graph, task, criterion, kind, multiple, check_names(graph, protect), swept, stop, progress)
    made_from = {
        "target": asked, "steps": steps, "schedule": schedule, "criterion": criterion, "between": parts,
        "sweep": swept, "multiple": multiple, "protect": cutter.protect, "max_samples": max_samples,
    }  # fmt: skip
    folder = None if path is None else Folder(path, model, made_from, task)
    work = Steps(cutter, parts, remaining(schedule, value, steps), max_samples, folder)
    state, interrupted = State(0, copy_of(model), work.nothing, ()), False
    with _bar(steps, progress) as bar:
        try:
            for state in work.states():
                bar.update(state.number - bar.n)
                if on_step is not None:
                    on_step(_frame(state, work.columns))
        except KeyboardInterrupt as end:
            interrupted = True
            tell_interrupted(f"prune_gradually ends after {state.number} of {steps} steps", end)
    history = _frame(state, work.columns)
    history.attrs["interrupted"] = interrupted
    return state.network, history


def _target(target: object) -> tuple[str, float]:
    """Return of what how much may remain."""
    given = target if isinstance(target, Mapping) else {"macs": target}
    if len(given) != 1:
        raise ValueError(f"target must be one budget, such as 0.5 or {{'params': 0.5}}; got {target!r}")
    ((kind, value),) = given.items()
    if kind not in KINDS:
        raise ValueError(f"target: {unknown('budget', kind, KINDS)}")
    if not (isinstance(value, (int, float, np.floating)) and 0 < value < 1):
        raise ValueError(f"target must be the fraction of the {kind} that may remain, 0 < target < 1; got {value!r}")
    return kind, float(value)


def _swept(
    allocate: bool, given: Mapping[str, Any] | None, max_samples: int | None, repaired: bool
) -> dict[str, Any] | None:
    """Return the options of the sweeps, None where there are none."""
    if not allocate:
        if given is not None:
            raise ValueError(f"sweep={given!r} is for allocate=True, which it is not")
        return None
    known = [name for name in list(inspect.signature(swept_curves).parameters)[3:] if name not in OURS]
    for name in given or {}:
        if name not in known:
            raise ValueError(f"sweep: {unknown('option', name, known)}")
    return {"max_samples": max_samples, "repair": repaired} | dict(given or {})


def _frame(state: State, columns: list[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(state.rows), columns=columns)


def _bar(steps: int, progress: bool) -> tqdm:
    return progress_bar(total=steps, progress=progress, unit="step", desc="prune")
