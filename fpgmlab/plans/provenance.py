"""Where a model comes from: its architecture's recipe and the plans that it was pruned by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from fpgmlab.plans.plan import Plan

_ATTRIBUTE = "_fpgmlab_provenance"


@dataclass(frozen=True)
class Provenance:
    """How a model came to be.

    Attributes
    ----------
    architecture : str or None
        Name for `fpgmlab.models.build`; None for a model that the user brought.
    options : dict
        Keyword arguments of ``build``.
    plans : tuple of Plan
        Applied one after the other.
    numbers : dict
        Attributes of modules into which surgery wrote a number of channels, by dotted name, with what they hold.
    repaired : tuple of bool
        For each plan whether `fpgmlab.repair` refitted the weights after it; False where a file does not tell.
    buffers : tuple of str
        Buffers that were cut and that no state dict holds, by dotted name.
    """

    architecture: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    plans: tuple[Plan, ...] = ()
    numbers: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    repaired: tuple[bool, ...] = ()
    buffers: tuple[str, ...] = ()


def provenance(model: nn.Module) -> Provenance:
    """Return where a model comes from; an empty record for one that was not made here.

    Examples
    --------
    >>> fl.provenance(fl.prune(graph, plan)).plans == (plan,)
    True
    """
    return getattr(model, _ATTRIBUTE, Provenance())


def set_provenance(model: nn.Module, record: Provenance) -> None:
    """Write a model's record; it travels with copies of the model."""
    object.__setattr__(model, _ATTRIBUTE, record)


def add_plan(
    model: nn.Module, plan: Plan, numbers: Mapping[str, int | tuple[int, ...]], buffers: Iterable[str] = ()
) -> None:
    """Note that a model was pruned by a plan, which numbers were written into attributes, which buffers were cut."""
    record = provenance(model)
    plans, repaired = (*record.plans, plan), (*record.repaired, False)
    numbers, cut = {**record.numbers, **numbers}, tuple(dict.fromkeys([*record.buffers, *buffers]))
    set_provenance(model, replace(record, plans=plans, repaired=repaired, numbers=numbers, buffers=cut))


def join_plans(model: nn.Module, before: Provenance, plan: Plan, repaired: bool) -> None:
    """Note that a model is another one, whose record was ``before``, pruned by one plan, in however many steps."""
    now = provenance(model)
    numbers, buffers = {**before.numbers, **now.numbers}, tuple(dict.fromkeys([*before.buffers, *now.buffers]))
    plans, mended = (*before.plans, plan), (*before.repaired, repaired)
    set_provenance(model, replace(before, plans=plans, repaired=mended, numbers=numbers, buffers=buffers))


def note_repaired(model: nn.Module) -> None:
    """Note that a model's weights were refitted after its last plan."""
    record = provenance(model)
    set_provenance(model, replace(record, repaired=(*record.repaired[:-1], True)))
