"""The same network at other numbers of channels, written as files for ONNX Runtime to time."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fpgmlab.common.modules import device_of, eval_mode
from fpgmlab.deployment.arguments import Arguments, feed_of
from fpgmlab.deployment.calls import Call, layer_calls, measured_layers
from fpgmlab.deployment.exporting import ONE_AT_A_TIME
from fpgmlab.deployment.profiling import Profile, known_nodes, profile_onnx
from fpgmlab.deployment.quantization.search import Search
from fpgmlab.deployment.quantization.writing import Prepared
from fpgmlab.deployment.runtimes import onnx_session
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import allowed_kept, lowest
from fpgmlab.surgery import prune

OPSET = 17
WHOLE = "whole.onnx"
LEAST_KEPT = 0.2  # of a group, in a variant
# The steps that a variant's groups keep to, drawn for each group: the quick way, any count, and both side by side.
DESIGNS = ((16, 16, 4), (1,), (16, 4, 1, 1))
SHARES = (0.4, 0.3, 0.3)  # of the variants


def drawn_plans(
    graph: ChannelGraph, count: int, seed: int, designs: Sequence[Sequence[int]] = DESIGNS
) -> Iterator[Plan]:
    """Yield plans that show what a network's time depends on: the whole first, then groups at random counts.

    Parameters
    ----------
    graph : ChannelGraph
    count : int
    seed : int
    designs : three sequences of int
        The steps that groups keep to, for the three parts of the plans.
    """
    random = np.random.default_rng(seed)
    scores = {name: torch.zeros(group.channels) for name, group in graph.items()}  # which channels go takes no time
    widths = {name: group.channels for name, group in graph.items()}
    yield Plan(widths, {})
    for number in range(1, count):
        design = designs[int(np.searchsorted(np.cumsum(SHARES), number / count))]
        removed = {}
        for name, group in graph.items():
            if group.protected is not None:
                continue
            counts = [n for n in allowed_kept(group, int(random.choice(design))) if n >= LEAST_KEPT * group.channels]
            kept = int(random.choice(counts))
            if kept < group.channels:
                removed[name] = lowest(group, scores, group.channels - kept)
        yield Plan(widths, removed)


@dataclass(frozen=True, eq=False)
class Variants:
    """What is needed to time a network at other numbers of channels.

    Attributes
    ----------
    graph : ChannelGraph
    arguments : Arguments
        What it is called with; of the batch that is timed.
    folder : Path
        For the files.
    threads : int or None
    rounds : int
    quantised : Prepared or None
        The whole network with its ranges, where variants are timed in INT8.
    in_float : frozenset of str
        Nodes that stay in float all the same.
    """

    graph: ChannelGraph
    arguments: Arguments
    folder: Path
    threads: int | None
    rounds: int
    quantised: Prepared | None
    in_float: frozenset[str]

    @classmethod
    def of(
        cls, graph: ChannelGraph, batch: int, dtype: str, folder: Path, threads: int | None, rounds: int
    ) -> Variants:
        """Get ready; for INT8 the ranges are measured, and what is faster in float is found, on the whole network."""
        cpu = Arguments.of(graph.example_input).map(lambda tensor: tensor.detach().cpu())
        arguments = cpu if cpu.batch in {None, batch} else cpu.random(batch)
        if dtype == "float32":
            return cls(graph, arguments, folder, threads, rounds, None, frozenset())
        path = folder / WHOLE
        write_variant(_spread(graph.model), arguments, path)
        feed = feed_of(onnx_session(path, threads), arguments)
        prepared = Prepared.measured(path, [feed])
        chosen = Search(prepared, folder, threads).fastest({}, feed)
        return cls(graph, arguments, folder, threads, rounds, prepared, frozenset(chosen))

    def int8_layers(self) -> set[str]:
        """Return the names of the layers that are computed in INT8."""
        if self.quantised is None:
            return set()
        calls = layer_calls(self.graph.model, measured_layers(self.graph), self._example(self.graph.model))
        known = known_nodes(self.folder / WHOLE, calls)
        weighted = set(self.quantised.layers.weighted)
        return {known[n][1] for n in self.quantised.layers.in_int8(self.in_float) if n in known and n in weighted}

    def time(self, plan: Plan) -> tuple[list[Call], Profile]:
        """Return the calls of the pruned network's layers and how long each took."""
        small = prune(self.graph, plan).cpu()
        calls = layer_calls(small, measured_layers(self.graph), self._example(small))
        path = self.folder / "variant.onnx"
        write_variant(small if self.quantised is None else _spread(small), self.arguments, path)
        known = known_nodes(path, calls)
        if self.quantised is not None:
            self.quantised.like(path).write(path, self.quantised.layers.in_int8(self.in_float))
        feed = feed_of(onnx_session(path, 1), self.arguments)
        return calls, profile_onnx(path, known, feed, self.threads, self.rounds)

    def _example(self, model: nn.Module) -> object:
        args, kwargs = self.arguments.args, self.arguments.kwargs
        device = device_of(model)
        moved = self.arguments.map(lambda tensor: tensor.to(device))
        return dict(moved.kwargs) if kwargs and not args else tuple(moved.args)


def _spread(model: nn.Module) -> nn.Module:
    """Return a copy whose biases differ: of equal ones exporters keep one tensor, whose layers stay in float."""
    model = copy.deepcopy(model).cpu()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            bias = getattr(module, "bias", None)
            if isinstance(bias, torch.Tensor) and bias.is_floating_point():
                bias += 1e-3 * torch.randn(bias.shape, generator=generator).to(bias)
    return model


def write_variant(model: nn.Module, arguments: Arguments, path: Path) -> None:
    """Write a network of fixed shapes, by the quicker of torch's exporters or, where that fails, by the other one."""
    names = list(arguments.named)
    with ONE_AT_A_TIME, warnings.catch_warnings(), eval_mode(model), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is the older one; constants by tracing: shapes are fixed here
        try:
            torch.onnx.export(
                model, arguments.args, str(path), dynamo=False, kwargs=dict(arguments.kwargs), input_names=names,
                opset_version=OPSET,
            )  # fmt: skip
        except Exception:  # in many ways; the other one's error is told
            torch.onnx.export(
                model, arguments.args, str(path), dynamo=True, external_data=False, verbose=False,
                kwargs=dict(arguments.kwargs), input_names=names,
            )  # fmt: skip
