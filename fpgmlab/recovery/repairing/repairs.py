"""Repairs of many plans of one network: what they have in common is done once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.batches import on_device
from fpgmlab.common.calling import call as call_model
from fpgmlab.common.calling import is_random, left_as_it_is
from fpgmlab.common.digests import digest
from fpgmlab.common.inputs import parts_of
from fpgmlab.common.layout import bears_channels_last
from fpgmlab.common.modules import device_of, eval_mode, tensors_in
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.layer import REFITTED
from fpgmlab.graph.pictures import at_once, weighed
from fpgmlab.graph.projections import names_of, own_tensors, parts, place_of
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import note_repaired
from fpgmlab.recovery.repairing.passing import Passing, Remembered
from fpgmlab.recovery.repairing.progress import Progress
from fpgmlab.recovery.repairing.report import note_report
from fpgmlab.recovery.repairing.targets import Cut
from fpgmlab.recovery.repairing.whole import Options, Whole, functions_of
from fpgmlab.surgery.cutting import kept_of
from fpgmlab.surgery.pruning import prune

if TYPE_CHECKING:
    from tqdm.auto import tqdm

LAYERS = 1.2e7  # bytes of refitted layers that are remembered


class Repairs:
    """Repairs plans of one network, each as `fpgmlab.repair` does.

    What the whole network gives is looked at once, and a plan that cuts the first layers as another one did takes over
    what became of them: so a plan that differs in a few groups is repaired in a fraction of the time.

    Parameters
    ----------
    graph : ChannelGraph
        Its model must not change meanwhile.
    batches : list
        Of inputs, as `fpgmlab.common.inputs.inputs_of` gives them.
    options : Options
    many : bool
        Whether there will be several plans: else no more is kept than one needs.

    Raises
    ------
    ValueError, RuntimeError
        For pictures and networks that cannot be repaired with, as `fpgmlab.repair`.
    """

    def __init__(self, graph: ChannelGraph, batches: list[object], options: Options, many: bool = True) -> None:
        self._options, self._graph, self._many = options, graph, many
        model, device = graph.model, device_of(graph.model)
        self._layers = [layer for layer in graph.layers if layer.kind in REFITTED]
        names = [name for layer in self._layers for name in names_of(layer)]
        taken, example = weighed(model, names, graph.example_input), graph.example_input
        batches = [part for batch in batches for part in parts_of(batch, at_once(taken, example, batch))]
        batches = [on_device(batch, device, channels_last=False) for batch in batches]
        _check_runs(model, batches, graph)
        last = bears_channels_last(model, batches[0])
        self._batches = [on_device(batch, device, channels_last=last) for batch in batches]
        self._functions = functions_of(model, names, graph.example_input)
        self._whole: dict[bool, Whole] = {}  # by whether sums are heeded
        self._remembered = {alike: Remembered(LAYERS) for alike in (True, False)} if many else {}

    def __enter__(self) -> Repairs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for whole in self._whole.values():
            whole.__exit__(kind, error, trace)

    def look(self, stop: Callable[[], bool] | None = None) -> None:
        """Look at the whole network now; `of` does it otherwise."""
        self._looked_at(self._cuts(Plan({}, {}), self._graph.model), True, _asking(stop))

    def of(
        self, plan: Plan, *, path: str | os.PathLike[str] | None = None, stop: Callable[[], bool] | None = None,
        on_layer: Callable[[dict[str, Any]], None] | None = None, progress: bool = False,
        start: nn.Module | None = None,
    ) -> nn.Module:  # fmt: skip
        """Return the pruned network with refitted weights; arguments as for `fpgmlab.repair`.

        With ``start``, a network of the same shape, its layers' weights are those to begin with, as they were repaired
        or trained meanwhile; only where there are not ``many`` plans.
        """
        pruned = prune(self._graph, plan)
        if start is not None:
            self._begin_with(start, pruned)
        cuts, options = self._cuts(plan, pruned), self._options
        made_from = _made_from(self._graph.model, plan, self._batches, options) if path is not None else {}
        store, ask, short = Progress(path, made_from), _asking(stop), ""
        alike = functions_of(pruned, list(cuts), self._graph.example_input) == self._functions
        rows: list[dict[str, Any]] = []
        layers = list(cuts)  # those that run, as soon as that is known
        before = {name: buffer.clone() for name, buffer in pruned.named_buffers()}
        with _bar(progress) as bar:
            try:
                whole = self._looked_at(cuts, alike, ask)
                layers = list(whole.after)
                bar.reset(len(layers))
                work = Passing(whole, pruned, cuts, self._batches, options, self._remembered.get(alike))
                with closing(work.layers(store, ask)) as finished:
                    for row in finished:
                        rows.append(row)
                        bar.update()
                        if progress and not short and (short := _short_of_equations(row)):
                            bar.write(short)
                        if on_layer is not None:
                            on_layer(row | {"layers": len(layers)})
            except KeyboardInterrupt:
                pass  # the layers that are not finished stay as cut
        means = {name for name in before if name.endswith("running_mean")}
        for name, buffer in pruned.named_buffers():  # what a pass writes to a model's state is not its repair
            if name not in means:
                buffer.copy_(before[name])
        note_report(pruned, rows, [name for name in cuts if name not in layers], interrupted=len(rows) < len(layers))
        if rows:
            note_repaired(pruned)
        return pruned

    def _begin_with(self, start: nn.Module, pruned: nn.Module) -> None:
        # Not its batch norms: a layer shall give what the whole network's batch norm expects.
        theirs, mine = dict(start.named_modules()), dict(pruned.named_modules())
        with torch.no_grad():
            for name in (name for layer in self._layers for name in names_of(layer)):
                there = own_tensors(theirs, name)
                for key, tensor in own_tensors(mine, name).items():
                    tensor.copy_(there[key])

    def _cuts(self, plan: Plan, pruned: nn.Module) -> dict[str, Cut]:
        keep = torch.from_numpy(self._graph.keep(plan))
        modules = dict(pruned.named_modules())
        found = {}
        for layer in self._layers:
            inputs, outputs = kept_of(layer.inputs, keep), kept_of(layer.outputs, keep)
            for name in names_of(layer):
                _, part = place_of(modules, name)
                weight, groups = own_tensors(modules, name)["weight"], getattr(modules[layer.name], "groups", 1)
                found[name] = Cut(weight, groups, inputs, outputs if part is None else parts(outputs)[part])
        return found

    def _looked_at(self, cuts: Mapping[str, Cut], alike: bool, ask: Callable[[], None]) -> Whole:
        whole = self._whole.get(alike)
        if whole is not None and not whole.elsewhere:
            return whole
        if whole is not None:  # equations of a layer that is called again hold for one plan
            whole.__exit__(None, None, None)
        self._whole.pop(alike, None)
        whole = Whole(self._graph.model, self._batches, self._options, cuts, alike, self._many)
        try:
            whole.look(ask)
        except BaseException:
            whole.__exit__(None, None, None)
            raise
        self._whole[alike] = whole
        return whole


def _asking(stop: Callable[[], bool] | None) -> Callable[[], None]:
    """Return what ends a repair as Ctrl-C does when it shall stop."""

    def ask() -> None:
        if stop is not None and stop():
            raise KeyboardInterrupt

    return ask


def _check_runs(model: nn.Module, batches: list[object], graph: ChannelGraph) -> None:
    kinds = {tuple(t.shape[1:] for t in tensors_in(batch)): batch for batch in reversed(batches)}
    for batch in kinds.values():  # pictures may be of several sizes
        try:
            with torch.no_grad(), eval_mode(model), left_as_it_is(model):
                call_model(model, batch)
        except Exception as error:
            shapes = [[tuple(t.shape) for t in tensors_in(some)] for some in (batch, graph.example_input)]
            raise RuntimeError(
                f"{type(model).__name__} does not run on these pictures, {shapes[0]}: {str(error).rstrip('.')}. It was "
                f"traced with {shapes[1]}."
            ) from error
    if is_random(model, lambda: call_model(model, graph.example_input)):
        raise ValueError(
            f"{type(model).__name__} gives different outputs for the same input in eval mode: nobody can say what its "
            "layers shall give. Make it deterministic (dropout that does not look at self.training?)."
        )


def _short_of_equations(row: Mapping[str, Any]) -> str:
    """Return what is to be said of a layer with fewer equations than unknowns, nothing of others."""
    if row["equations"] >= row["unknowns"]:
        return ""
    return (
        f"repair: {row['layer']!r} has {row['equations']} equations for {row['unknowns']} unknowns: what these "
        "pictures leave open stays as cut. More pictures (samples=) say more; fl.repair_report names all such layers."
    )


def _made_from(model: nn.Module, plan: Plan, batches: list[object], options: Options) -> dict[str, Any]:
    return {
        "model": digest({**dict(model.named_parameters()), **dict(model.named_buffers())}),
        "plan": digest(plan.to_json()),
        "pictures": digest([list(tensors_in(batch)) for batch in batches]),
        **{name: getattr(options, name) for name in ("positions", "ridge", "targets", "seed")},
    }


def _bar(progress: bool) -> tqdm:
    return progress_bar(progress=progress, unit="layer", desc="repair")
