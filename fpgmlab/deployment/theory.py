"""Theory and practice: what of the MACs that a plan removes comes back as time, and why not all of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from fpgmlab.common.given import check_model
from fpgmlab.deployment.benchmarking.rounds import pinned
from fpgmlab.deployment.calls import layer_calls
from fpgmlab.deployment.converters.report import arrays, in_float32
from fpgmlab.deployment.export import export_onnx
from fpgmlab.deployment.profiling import Profile, known_nodes, profile_onnx
from fpgmlab.deployment.roofline import Roof, machine_roof
from fpgmlab.deployment.staircases.onnx_probe import onnx_prober
from fpgmlab.deployment.staircases.probing import kind_of, probed
from fpgmlab.deployment.staircases.steps import Kernel
from fpgmlab.deployment.staircases.table import LatencyTable
from fpgmlab.deployment.work import Work, work_of

if TYPE_CHECKING:
    import pandas as pd

REST, WHOLE = "(what follows no layer)", "(whole network)"
NOTHING, FASTER = "nothing removed", "as its MACs"
BLOCKS, LAYOUT, MEMORY, OVERHEAD = "blocks", "layout", "memory", "overhead"
ROUNDS = 8  # of probing
NEAR = 0.1  # of a layer's time: what it may be above the time that its MACs promise


def theory_and_practice(
    model: nn.Module,
    small: nn.Module,
    example_input: object,
    *,
    roof: Roof | None = None,
    table: LatencyTable | None = None,
    threads: int = 1,
    rounds: int = 20,
) -> pd.DataFrame:
    """Set the time that a pruned network saves beside what its MACs promise, layer by layer, in ONNX Runtime.

    Both networks are profiled as a whole, so that a layer has the time that it takes there, with what is fused into it.
    Of the time by which a layer stays above its promise three parts are estimated, and the largest is the reason: what
    its channels take in whole blocks (*blocks*), what moving its numbers takes at least (*memory*), and what is left:
    *layout* where its numbers of channels no longer fit the quick kernel, else *overhead* (calls, work that does not
    grow with MACs). The blocks are found by probing, as `fpgmlab.latency_table` does.

    Parameters
    ----------
    model, small : nn.Module
        Before and after; layers belong together by their names.
    example_input : Tensor, tuple or dict
        Its batch size is that of the measurement.
    roof : Roof, optional
        From `machine_roof`; measured when left out.
    table : LatencyTable, optional
        Whose kernels tell the blocks; they are probed when left out.
    threads : int
        Within one operation.
    rounds : int
        Calls of each network.

    Returns
    -------
    pandas.DataFrame
        A row for each layer in the order of its first call, one for what follows no layer, one for the whole network:
        layer, kept (channels after and before), macs, macs_before, bytes, bytes_before, ms, ms_before, promised_ms
        (the time before times the share of MACs that stays), theory, practice (shares of MACs and of time that are
        saved), lost_ms (time above the promise), and ``reason`` where that is more than a tenth of the time before.

    Raises
    ------
    TypeError
        When the model or its example is of another kind, such as a graph, a task or a shape.
    ImportError
        Without onnx and onnxruntime: install ``fpgmlab[deploy]``.
    ValueError
        For networks without a common layer.
    """
    for network in (model, small):
        check_model(network, "fl.theory_and_practice(model, small, example_input)")
    roof = machine_roof(threads=threads) if roof is None else roof
    kernels = _kernels(model, example_input, threads) if table is None else _kernels_of(table)
    works = [work_of(network, example_input) for network in (model, small)]
    profiles = [profile(network, example_input, threads, rounds) for network in (model, small)]
    return compared(works[0], works[1], profiles[0], profiles[1], roof, kernels)


def profile(model: nn.Module, example_input: object, threads: int, rounds: int) -> Profile:
    """Return where the time of a network goes in ONNX Runtime."""
    plain, example = in_float32(model, example_input)
    names = list(work_of(plain, example_input))
    with TemporaryDirectory() as folder, pinned(threads):
        path = Path(folder) / "model.onnx"
        export_onnx(plain, example_input, path, dynamic=False)
        feed = dict(zip(example.named, arrays(example), strict=True))
        return profile_onnx(path, known_nodes(path, layer_calls(plain, names, example_input)), feed, threads, rounds)


def _kernels(model: nn.Module, example_input: object, threads: int) -> dict[str, Kernel]:
    """Return the kernel of each layer, probed."""
    calls = layer_calls(model, list(work_of(model, example_input)), example_input)
    kinds = {call.name: kind_of(call) for call in calls}
    with pinned(threads):
        kernels = probed(calls, kinds, lambda _: onnx_prober("float32", 1, threads, ROUNDS))
    return {name: kernels[kind] for name, kind in kinds.items()}


def _kernels_of(table: LatencyTable) -> dict[str, Kernel]:
    return {name: table.kernels[layer.kernel] for name, layer in table.layers.items()}


def compared(
    before: Mapping[str, Work],
    after: Mapping[str, Work],
    was: Profile,
    now: Profile,
    roof: Roof,
    kernels: Mapping[str, Kernel],
) -> pd.DataFrame:
    """Return the table of `theory_and_practice`, of works and profiles that are there."""
    import pandas as pd

    names = [name for name in before if name in after]
    if not names:
        raise ValueError(f"the networks have no layer in common: {list(before)[:3]} and {list(after)[:3]}")
    rows = []
    for name in names:
        old, new = before[name], after[name]
        ms, ms_before = now.layers.get(name, 0.0), was.layers.get(name, 0.0)
        promised = ms_before * new.macs / max(old.macs, 1)
        rows.append(
            {
                "layer": name, "kept": f"{new.outputs} of {old.outputs}", "macs": new.macs, "macs_before": old.macs,
                "bytes": new.bytes, "bytes_before": old.bytes, "ms": ms, "ms_before": ms_before,
                "promised_ms": promised, "reason": _reason(old, new, ms_before, ms, roof, kernels.get(name)),
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    own = [sum(work.macs for work in works.values()) for works in (after, before)]
    moved = [sum(work.bytes for work in works.values()) for works in (after, before)]
    rest = [profile.total - frame[column].sum() for profile, column in ((now, "ms"), (was, "ms_before"))]
    ends = [(REST, np.nan, np.nan, np.nan, np.nan, *rest, rest[1]),
            (WHOLE, *own, *moved, now.total, was.total, was.total * own[0] / max(own[1], 1))]  # fmt: skip
    columns = ["layer", "macs", "macs_before", "bytes", "bytes_before", "ms", "ms_before", "promised_ms"]
    frame = pd.concat([frame, pd.DataFrame(ends, columns=columns).assign(kept="", reason="")], ignore_index=True)
    frame["theory"] = 1 - frame["macs"] / frame["macs_before"]
    frame["practice"] = 1 - frame["ms"] / frame["ms_before"]
    frame.loc[frame["layer"] == REST, "practice"] = np.nan  # a difference of two sums: too little for a ratio
    frame["lost_ms"] = frame["ms"] - frame["promised_ms"]
    order = [*columns[:1], "kept", *columns[1:], "theory", "practice", "lost_ms", "reason"]
    return frame[order]


def _reason(old: Work, new: Work, ms_before: float, ms: float, roof: Roof, kernel: Kernel | None) -> str:
    """Return why a layer takes more time than its MACs promise; see `theory_and_practice`."""
    if new.macs == old.macs:
        return NOTHING
    share = new.macs / old.macs
    lost = ms - ms_before * share
    if lost <= NEAR * ms_before:
        return FASTER
    _, moving = roof.milliseconds(np.array([old.macs, new.macs]), np.array([old.bytes, new.bytes]))
    # What moving takes at least was there before as well: only what does not shrink with the MACs is lost by it.
    parts = {MEMORY: max(0.0, float(moving[1] - moving[0] * share))}
    if kernel is not None and _quick(new, kernel):
        parts[BLOCKS] = ms_before * max(0.0, _in_blocks(new, kernel) / _in_blocks(old, kernel) - share)
    left = LAYOUT if kernel is not None and _quick(old, kernel) and not _quick(new, kernel) else OVERHEAD
    parts[left] = lost - sum(parts.values())
    return max(parts, key=lambda part: parts[part])


def _in_blocks(work: Work, kernel: Kernel) -> float:
    """Return the MACs of a layer whose channels are computed in whole blocks."""
    sides = zip((work.inputs, work.outputs), kernel.aligned, strict=True)
    return work.macs * math.prod(-(-n // side.block) * side.block / n if n >= side.block else 1.0 for n, side in sides)


def _quick(work: Work, kernel: Kernel) -> bool:
    return bool(kernel.quick(np.array(work.inputs), np.array(work.outputs)))
