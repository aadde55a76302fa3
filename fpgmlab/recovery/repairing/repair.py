"""Repair: the remaining weights of a pruned network refitted by least squares."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import is_random, left_as_it_is
from fpgmlab.common.digests import digest
from fpgmlab.common.inputs import all_alike, inputs_of
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of, eval_mode, tensor_of, tensors_in
from fpgmlab.common.numbers import whole_number
from fpgmlab.errors import one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.grouping import PRODUCERS
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import note_repaired
from fpgmlab.recovery.repairing.passing import Options, Passing
from fpgmlab.recovery.repairing.progress import Progress
from fpgmlab.recovery.repairing.report import note_report
from fpgmlab.recovery.repairing.targets import Cut
from fpgmlab.surgery.cutting import kept_of
from fpgmlab.surgery.pruning import prune

if TYPE_CHECKING:
    from tqdm.auto import tqdm

TARGETS = ("active", "sum", "output")


def repair(
    graph: ChannelGraph,
    plan: Plan,
    task: Any,
    *,
    samples: int = 512,
    positions: int | None = None,
    ridge: float | None = None,
    targets: str = "active",
    seed: int = 0,
    memory: float = 4e9,
    path: str | os.PathLike[str] | None = None,
    stop: Callable[[], bool] | None = None,
    on_layer: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> nn.Module:
    """Prune, and refit the remaining weights by least squares so that each layer gives what it gave before.

    Layer by layer in the order of execution: what a convolution or linear layer reads in the pruned network, as far as
    that is repaired, against what the whole network gives in its place. What the removed channels told, the others take
    over as far as they can. No labels are read, no gradients computed.

    Parameters
    ----------
    graph : ChannelGraph
        Its model is left as it is.
    plan : Plan
        Made for this graph.
    task : task, data set, data loader or list of batches
        Where the pictures come from: a task's training data as `fpgmlab.fit` sees them. See
        `fpgmlab.common.inputs.inputs_of`.
    samples : int
        How many.
    positions : int, optional
        Of each picture and layer, drawn at random; when left out, so many that a layer gets 32,768 equations, or 512
        for each unknown where that is less. All where there are fewer.
    ridge : float, optional
        Strength with which each layer's weights are drawn towards those that are there, in units of the mean square of
        what it reads. When left out, the one of the least error on held-out pictures, a fourth of them, for each layer.
    targets : {"active", "sum", "output"}
        What a layer shall give: its own output in the whole network (``"output"``); where it ends in a sum with what
        is there already, as at the end of a residual block, what is missing to the whole network's sum, so that it
        makes up for the stream's error too (``"sum"``); and where an activation follows, not that itself but what the
        activation makes of it, so that what a ReLU cuts off does not count (``"active"``).
    seed : int
        Of the pictures and positions.
    memory : float
        Bytes that remembered activations may take; what is beyond goes to temporary files.
    path : path-like, optional
        A folder for the progress, written after every layer. Killed and started again with the same arguments, the
        repair goes on after the last finished layer and ends with the identical network.
    stop : callable, optional
        Asked before each batch of each layer; when it returns True, the layers that follow stay as cut.
    on_layer : callable, optional
        Called after each layer with its row of the report, and ``"layers"``: how many there are in all.
    progress : bool
        Show a progress bar.

    Returns
    -------
    nn.Module
        The pruned network as `fpgmlab.prune` gives it, with other weights; `repair_report` tells of its layers. An
        offset goes into a layer's bias, or into the running mean of the batch norm that alone reads it.

    Raises
    ------
    ValueError
        For options out of range, no pictures, NaN in activations (with the layer), a plan of another network, a network
        that gives different outputs for the same input, a ``path`` that holds another repair.
    RuntimeError
        When the network does not run on the pictures, or its control flow depends on the values.

    Warns
    -----
    UserWarning
        When there are fewer pictures than asked for, or all are alike.

    Notes
    -----
    Least squares after the cut is as old as He, Zhang & Sun (*Channel pruning for accelerating very deep neural
    networks*, ICCV 2017, eq. 4), layer by layer on the cut network's own inputs; with targets beyond the next ReLU
    after Zhang et al. (*Accelerating very deep convolutional networks*, arXiv:1505.06798, section 2.2).
    """
    options = _checked(samples, positions, ridge, targets, seed, memory)
    keep = torch.from_numpy(graph.keep(plan))
    whole, device = graph.model, device_of(graph.model)
    batches = [on_device(batch, device, channels_last=False) for batch in inputs_of(task, samples, seed)]
    if all_alike(batches):
        warnings.warn(
            "all pictures are alike: from them a layer learns what to give for this one only. Pass different ones.",
            UserWarning, stacklevel=2,
        )  # fmt: skip
    _check_runs(whole, batches, graph)
    last = bears_channels_last(whole, batches[0])
    batches = [on_device(batch, device, channels_last=last) for batch in batches]
    pruned = prune(graph, plan)
    modules = dict(pruned.named_modules())
    cuts = {
        layer.name: Cut(
            tensor_of(modules[layer.name], "weight"), getattr(modules[layer.name], "groups", 1),
            kept_of(layer.inputs, keep), kept_of(layer.outputs, keep),
        )
        for layer in graph.layers if layer.kind in PRODUCERS
    }  # fmt: skip
    made_from = _made_from(whole, plan, batches, options) if path is not None else {}
    store = Progress(path, made_from)
    rows: list[dict[str, Any]] = []
    layers = list(cuts)  # those that run, as soon as that is known
    before = {name: buffer.clone() for name, buffer in pruned.named_buffers()}
    with Passing(whole, pruned, cuts, batches, options, graph.example_input) as work, _bar(progress) as bar:
        try:
            layers = work.look(stop)
            bar.reset(len(layers))
            with closing(work.layers(store, stop)) as finished:
                for row in finished:
                    rows.append(row)
                    bar.update()
                    if on_layer is not None:
                        on_layer(row | {"layers": len(layers)})
        except KeyboardInterrupt:
            pass  # the layers that are not finished stay as cut
    means = {name for name in before if name.endswith("running_mean")}
    for name, buffer in pruned.named_buffers():  # what a pass writes to a model's state is not its repair
        if name not in means:
            buffer.copy_(before[name])
    missing = [name for name in cuts if name not in layers]
    note_report(pruned, rows, missing, interrupted=len(rows) < len(layers))
    if rows:
        note_repaired(pruned)
    return pruned


def _checked(
    samples: int, positions: int | None, ridge: float | None, targets: str, seed: int, memory: float
) -> Options:
    whole_number("samples", samples)
    whole_number("seed", seed, 0)
    if positions is not None:
        whole_number("positions", positions)
    if ridge is not None and not (isinstance(ridge, (int, float)) and ridge >= 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge must be None or a number >= 0; got {ridge!r}")
    if targets not in TARGETS:
        raise ValueError(one_of("targets", targets, TARGETS))
    if not (isinstance(memory, (int, float)) and memory > 0):
        raise ValueError(f"memory must be a number of bytes > 0; got {memory!r}")
    return Options(positions, ridge, targets, seed, memory)


def _check_runs(model: nn.Module, batches: list[object], graph: ChannelGraph) -> None:
    kinds = {tuple(t.shape[1:] for t in tensors_in(batch)): batch for batch in reversed(batches)}
    for batch in kinds.values():  # pictures may be of several sizes
        try:
            with torch.no_grad(), eval_mode(model), left_as_it_is(model):
                call_model(model, batch)
        except Exception as error:
            shapes = [[tuple(t.shape) for t in tensors_in(some)] for some in (batch, graph.example_input)]
            raise RuntimeError(
                f"{type(model).__name__} does not run on these pictures, {shapes[0]}: {error}. It was traced with "
                f"{shapes[1]}."
            ) from error
    if is_random(model, lambda: call_model(model, graph.example_input)):
        raise ValueError(
            f"{type(model).__name__} gives different outputs for the same input in eval mode: nobody can say what its "
            "layers shall give. Make it deterministic (dropout that does not look at self.training?)."
        )


def _made_from(model: nn.Module, plan: Plan, batches: list[object], options: Options) -> dict[str, Any]:
    return {
        "model": digest({**dict(model.named_parameters()), **dict(model.named_buffers())}),
        "plan": digest(plan.to_json()),
        "pictures": digest([list(tensors_in(batch)) for batch in batches]),
        **{name: getattr(options, name) for name in ("positions", "ridge", "targets", "seed")},
    }


def _bar(progress: bool) -> tqdm:
    from tqdm.auto import tqdm

    return tqdm(disable=not progress, unit="layer", desc="repair", leave=False)
