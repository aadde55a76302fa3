"""Where a model comes from: its architecture's recipe and the plans that it was pruned by.

A wrapper, which names the attribute that holds a network in ``_fpgmlab_wraps``, and what it wraps hand their records on
to each other: either may be exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
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

    Of a wrapper without a record of its own, such as `fpgmlab.models.boxes.Decoded`, it is that of what it wraps. What
    was pruned in a wrapper, such as ``pruned.model`` of `fpgmlab.tasks.UltralyticsMaps`, has the wrapper's, with groups
    and modules by their names within it.

    Examples
    --------
    >>> fl.provenance(fl.prune(graph, plan)).plans == (plan,)
    True
    """
    record, held = _own(model), wrapped(model)
    return provenance(held[1]) if record is None and held is not None else record or Provenance()


def file_provenance(model: nn.Module) -> Provenance:
    """Return a model's record by the names that it has for its own modules, for surgery and for files.

    Of a wrapper without a record of its own no architecture: nothing builds it by a name.
    """
    record, held = _own(model), wrapped(model)
    if record is not None or held is None:
        return record or Provenance()
    place, inner = held
    record = _renamed(file_provenance(inner), lambda name: f"{place}.{name}")
    return replace(record, architecture=None, options={})


def set_provenance(model: nn.Module, record: Provenance) -> None:
    """Write a model's record; it travels with copies of the model, and to what it wraps."""
    object.__setattr__(model, _ATTRIBUTE, record)
    if (held := wrapped(model)) is not None:
        place, inner = held
        within = _renamed(record, lambda name: name.removeprefix(f"{place}."))
        # As text: what is wrapped may be pickled for where there is no fpgmlab.
        object.__setattr__(inner, _ATTRIBUTE, _to_json(within))


def _own(model: nn.Module) -> Provenance | None:
    """Return the record that a model itself holds, or None."""
    found: Provenance | str | None = getattr(model, _ATTRIBUTE, None)
    return _from_json(found) if isinstance(found, str) else found


def wrapped(model: nn.Module) -> tuple[str, nn.Module] | None:
    """Return what a wrapper holds, and by which name; None of what is no wrapper."""
    place = getattr(type(model), "_fpgmlab_wraps", None)
    return None if place is None else (place, model.get_submodule(place))


def _renamed(record: Provenance, renamed: Callable[[str], str]) -> Provenance:
    """Return a record with other names of groups and modules."""
    plans = tuple(
        Plan({renamed(n): width for n, width in p.widths.items()}, {renamed(n): gone for n, gone in p.removed.items()})
        for p in record.plans
    )
    numbers = {renamed(name): value for name, value in record.numbers.items()}
    return replace(record, plans=plans, numbers=numbers, buffers=tuple(map(renamed, record.buffers)))


def _to_json(record: Provenance) -> str:
    return json.dumps(asdict(replace(record, plans=())) | {"plans": [plan.to_json() for plan in record.plans]})


def _from_json(text: str) -> Provenance:
    held = json.loads(text)
    numbers = {name: tuple(n) if isinstance(n, list) else n for name, n in held["numbers"].items()}
    return Provenance(
        held["architecture"],
        held["options"],
        tuple(map(Plan.from_json, held["plans"])),
        numbers,
        tuple(held["repaired"]),
        tuple(held["buffers"]),
    )


def add_plan(
    model: nn.Module, plan: Plan, numbers: Mapping[str, int | tuple[int, ...]], buffers: Iterable[str] = ()
) -> None:
    """Note that a model was pruned by a plan, which numbers were written into attributes, which buffers were cut."""
    record = file_provenance(model)
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
