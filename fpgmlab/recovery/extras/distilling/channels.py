"""Which of a teacher's channels a pruned student still has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from fpgmlab.common.batches import on_device
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import device_of
from fpgmlab.graph.building import build_graph
from fpgmlab.graph.tracing import TracingError
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import provenance

PROBE = "fpgmlab_probe_"


class Unknown(ValueError):
    """It is not known which channels are the same ones; the message says why."""


def kept_channels(
    student: nn.Module, teacher: nn.Module, inputs: object, layers: Mapping[str, tuple[Sequence[int], int]]
) -> dict[str, np.ndarray]:
    """Return which channels of a teacher's layers are still in a student that was pruned from it, or from its like.

    By the plans that the student's provenance has and the teacher's has not, one after the other. The teacher is
    traced with a layer that reads each output put in, so that also what blocks and activations give is known channel
    by channel.

    Parameters
    ----------
    student, teacher : nn.Module
    inputs : object
        What both are called with.
    layers : mapping of str to tuple
        The wanted layers of the teacher, by name: the shape of what each gives, and which dimension has the channels.

    Returns
    -------
    dict of str to ndarray
        (kept,) ascending numbers of channels, by the teacher's layer; all of them when no plan lies between both.

    Raises
    ------
    Unknown
        When the student was not pruned from a network like the teacher.
    """
    mine, theirs = provenance(student).plans, provenance(teacher).plans
    if mine[: len(theirs)] != theirs:
        raise Unknown("the teacher was pruned by plans that the student was not pruned by")
    plans = mine[len(theirs) :]
    if not plans:
        return {name: np.arange(shape[dim]) for name, (shape, dim) in layers.items()}
    probed = copy_of(teacher)
    names = {name: f"{PROBE}{i}" for i, name in enumerate(layers)}
    for name, (shape, dim) in layers.items():
        _put_probe(probed, name, names[name], shape, dim)
    try:
        graph = build_graph(probed, on_device(inputs, device_of(teacher)))
    except TracingError as error:
        raise Unknown(f"the teacher cannot be traced: {error}") from error
    stay = np.ones(sum(group.channels for group in graph.values()), dtype=bool)
    for plan in plans:
        _remove(plan, {name: graph.channels_of(name) for name in graph}, stay)
    inside = {layer.name: layer.inputs for layer in graph.layers}
    return {n: np.flatnonzero((inside[p] < 0) | stay[inside[p]]) for n, p in names.items() if p in inside}


def reading(dims: int, dim: int, channels: int, made: int) -> nn.Module:
    """Return a layer that makes channels of others at each place by itself: linear, or a 1x1 convolution.

    Parameters
    ----------
    dims, dim : int
        Of what it reads: how many dimensions, and which one has the channels.
    channels, made : int
        How many it reads and makes.
    """
    if dim == dims - 1:
        return nn.Linear(channels, made, bias=False)
    return {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[dims](channels, made, 1, bias=False)


def _put_probe(model: nn.Module, layer: str, name: str, shape: Sequence[int], dim: int) -> None:
    """Have a layer of one output, which nobody takes, read what another one gives."""
    probe = reading(len(shape), dim, shape[dim], 1)
    model.add_module(name, probe.to(next(model.parameters())))

    def read(_: nn.Module, __: object, output: Tensor) -> None:
        probe(output)

    model.get_submodule(layer).register_forward_hook(read)


def _remove(plan: Plan, slices: Mapping[str, slice], stay: np.ndarray) -> None:
    """Take out of ``stay`` what a plan removes of the channels that are still there."""
    for name, width in plan.widths.items():
        if name not in slices:
            raise Unknown(f"the student was pruned from another network: the teacher has no group {name!r}")
        here = slices[name].start + np.flatnonzero(stay[slices[name]])
        if len(here) != width:
            raise Unknown(
                f"the student was pruned from a network whose group {name!r} has {width} channels; the teacher's has "
                f"{len(here)}"
            )
        stay[here[list(plan.removed.get(name, ()))]] = False
