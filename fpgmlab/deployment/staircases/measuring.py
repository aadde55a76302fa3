"""Measuring a latency table."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.files import as_path
from fpgmlab.common.numbers import whole_number
from fpgmlab.common.warned import warn
from fpgmlab.deployment.calls import layer_calls, measured_layers, without_times
from fpgmlab.deployment.machine import Machine, cores
from fpgmlab.deployment.runtimes import RUNTIMES, Runtime
from fpgmlab.deployment.staircases.fitting import Sample, bare_layers, fitted
from fpgmlab.deployment.staircases.onnx_probe import onnx_prober
from fpgmlab.deployment.staircases.probing import Prober, kind_of, probed
from fpgmlab.deployment.staircases.singly import Singly
from fpgmlab.deployment.staircases.steps import Kernel, Staircase
from fpgmlab.deployment.staircases.table import LatencyTable
from fpgmlab.deployment.staircases.variants import Variants, drawn_plans
from fpgmlab.errors import few, one_of
from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.given import check_graph

if TYPE_CHECKING:
    from tqdm.auto import tqdm

DTYPES = ("float32", "int8")
LEAST_VARIANTS = 2


def latency_table(
    graph: ChannelGraph,
    *,
    runtime: str = "onnxruntime",
    dtype: str = "float32",
    batch: int = 1,
    threads: int | None = None,
    variants: int = 34,
    rounds: int = 8,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> LatencyTable:
    """Measure how long each convolution and linear layer takes over its numbers of input and output channels, as steps.

    First the runtime's blocks: for each kind of layer a small network with that layer at all counts from 33 to 64, then
    at the tops of the steps that show. Then the network itself at random numbers of channels, with random weights: ONNX
    Runtime says how long each layer took in there. Of other runtimes the layers are timed one by one, and whole
    networks say by how much they differ from the sum. Each layer's time is then a sum of a constant, its inputs,
    its outputs and their product, all counted as the runtime does, with weights by non-negative least squares.

    Parameters
    ----------
    graph : ChannelGraph
    runtime : str
        A name in `fpgmlab.deployment.RUNTIMES`: "onnxruntime", "torch", ...
    dtype : {"float32", "int8"}
        INT8 as `fpgmlab.quantize` writes it: what is faster in float stays there. ONNX Runtime only.
    batch : int
        Examples in one forward pass.
    threads : int, optional
        Within one operation; the runtime chooses when left out.
    variants : int
        Networks with random numbers of channels.
    rounds : int
        How often each is run; what disturbs a run only adds, so the quickest count.
    seed : int
        Of the numbers of channels.
    path : path-like, optional
        A file that keeps the table. Where it is there already, it is read instead of measuring.
    progress : bool
        Show a bar.

    Returns
    -------
    LatencyTable

    Raises
    ------
    TypeError
        When it is no graph, such as the network itself.
    ValueError
        For an unknown runtime or dtype, numbers out of range, more threads than processors; for a file at ``path`` that
        is of another network, machine, runtime, dtype, batch or number of threads, with what differs.
    ImportError
        When the runtime is not installed, with the extra that brings it.

    Warns
    -----
    UserWarning
        For layers whose time cannot be told: those of a class of one's own, see `fpgmlab.LayerRule`, and what projects
        to queries, keys and values in `torch.nn.MultiheadAttention`.
    """
    check_graph(graph)
    if runtime not in RUNTIMES:
        raise ValueError(one_of("runtime", runtime, RUNTIMES))
    if dtype not in DTYPES:
        raise ValueError(one_of("dtype", dtype, DTYPES))
    if dtype == "int8" and runtime != "onnxruntime":
        raise ValueError(f"dtype='int8' is measured in 'onnxruntime' only; not in {runtime!r}")
    singly = [name for name, each in RUNTIMES.items() if type(each).ready is not Runtime.ready]
    if runtime not in singly:
        raise ValueError(f"{runtime!r} runs whole networks only; a latency table takes {', '.join(map(repr, singly))}")
    numbers = {"batch": (batch, 1), "variants": (variants, LEAST_VARIANTS), "rounds": (rounds, 1)}
    for name, (value, least) in numbers.items():
        whole_number(name, value, least)
    if threads is not None and whole_number("threads", threads) > cores():
        raise ValueError(f"threads must be at most the {cores()} processors that this process may use; got {threads}")
    RUNTIMES[runtime].awake()
    machine = Machine.here(runtime, threads)
    if path is not None and as_path(path).exists():
        return _kept(path, graph, machine, dtype, batch)
    if untold := without_times(graph):
        warn(
            f"{few(untold)} have no time of their own in a latency table, and count with what they follow, whatever is "
            "cut of them: judge a plan that cuts them by fpgmlab.latency of the pruned network",
        )
    with tempfile.TemporaryDirectory() as folder, _bar(progress, variants) as bar:
        if runtime == "onnxruntime":
            measured = _whole(graph, Path(folder), dtype, batch, threads, variants, rounds, seed, bar)
        else:
            measured = Singly(RUNTIMES[runtime], graph, batch, threads, rounds).measured(variants, seed, bar)
    table = LatencyTable(*measured[:3], machine, dtype, batch, measured[3])
    if path is not None:
        table.to_json(path)
    return table


def _whole(
    graph: ChannelGraph, folder: Path, dtype: str, batch: int, threads: int | None, variants: int, rounds: int,
    seed: int, bar: tqdm,
) -> tuple[dict[str, Kernel], dict[str, Staircase], float, float]:  # fmt: skip
    """Return kernels, staircases, overhead and error by ONNX Runtime's profiles of whole networks."""
    there = Variants.of(graph, batch, dtype, folder, threads, rounds)
    calls = layer_calls(graph.model, measured_layers(graph), graph.example_input)
    eight = there.int8_layers()
    kinds = {call.name: kind_of(call) + (" int8" if call.name in eight else "") for call in calls}
    bar.set_description("blocks")
    probers: dict[bool, Prober] = {
        small: onnx_prober("int8" if small else "float32", batch, threads, rounds) for small in (True, False)
    }
    kernels = probed(calls, kinds, lambda kind: probers[kind.endswith(" int8")])
    bar.set_description("variants")
    samples: list[Sample] = []
    for plan in drawn_plans(graph, variants, seed):
        samples.append(there.time(plan))
        bar.update()
    layers, predicted = fitted(samples, kernels, bare_layers(graph, calls, kinds, kernels))
    totals = np.array([profile.total for _, profile in samples])
    overhead = float(np.median(totals - predicted))
    error = float(np.sqrt(np.mean(((predicted + overhead) / totals - 1) ** 2)))
    return kernels, layers, overhead, error


def _kept(path: str | os.PathLike[str], graph: ChannelGraph, machine: Machine, dtype: str, batch: int) -> LatencyTable:
    """Return the table of a file; refuse one of something else."""
    table = LatencyTable.from_json(path)
    table.places(graph)
    differing = table.machine.unlike(machine)
    for name, there, here in (("dtype", table.dtype, dtype), ("batch", table.batch, batch)):
        if there != here:
            differing = ", ".join(filter(None, [differing, f"{name} {there!r} there, {here!r} here"]))
    if differing:
        raise ValueError(
            f"{os.fspath(path)!r} holds a latency table of something else: {differing}. Choose another path, or remove "
            "it; LatencyTable.from_json reads it as it is."
        )
    return table


def _bar(progress: bool, variants: int) -> tqdm:
    return progress_bar(progress=progress, desc="latency", total=variants)
