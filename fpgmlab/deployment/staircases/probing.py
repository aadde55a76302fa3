"""Finding a runtime's blocks: one layer at many numbers of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fpgmlab.deployment.calls import Call
from fpgmlab.deployment.staircases.steps import Kernel, Steps

# Milliseconds of a layer of the kind of a call at pairs of numbers of input and output channels, (points,).
Prober = Callable[[Call, Sequence[tuple[int, int]]], np.ndarray]
BASE = 64  # channels of the side that is not probed
FINE = range(33, BASE + 1)
BLOCKS = (32, 16, 8, 4, 2, 1)
LARGE = (160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 3072, 4096)
SLOW = 1.12  # a count that costs so much more than the next full sixteen goes another way
FLAT = 0.015  # of the cost of 64 channels: what a block's counts may differ by
FEW = 15  # channels: below it kernels have ways of their own
MOST = 0.8  # of the counts, that must be flat: others may have been disturbed
LARGEST = 56  # pixels of a side
STEM = 16  # a layer with fewer inputs is probed with these: kernels have a way of their own for them


def kind_of(call: Call) -> str:
    """Return the name of the kernel that a call is of: what counts channels alike has the same."""
    parts = [call.kind]
    if call.kernel:
        parts.append("x".join(map(str, call.kernel)))
    for name, sides in (("stride", call.stride), ("dilation", call.dilation)):
        if any(side != 1 for side in sides):
            parts.append(f"{name}={'x'.join(map(str, sides))}")
    if call.depthwise:
        parts.append("depthwise")
    elif call.groups > 1:
        parts.append(f"groups={call.groups}")
    elif call.inputs < STEM:
        parts.append(f"inputs={call.inputs}")
    return " ".join(parts)


def probe_size(call: Call) -> tuple[int, ...]:
    """Return the size of the pictures that a layer is probed on: large ones only where a pixel costs little."""
    if call.inputs < STEM:
        return tuple(min(n, 4 * LARGEST) for n in call.size)
    dense = not call.depthwise and any(side > 1 for side in call.kernel)
    return tuple(min(n, LARGEST // 2 if dense else LARGEST) for n in call.size)


def probed(calls: Sequence[Call], kinds: Mapping[str, str], prober: Callable[[str], Prober]) -> dict[str, Kernel]:
    """Return the kernels of all kinds of layers, each probed on the call of the largest picture."""
    by_kind: dict[str, list[Call]] = {}
    for call in calls:
        by_kind.setdefault(kinds[call.name], []).append(call)
    kernels = {}
    for kind, alike in by_kind.items():
        most = max(max(call.inputs, call.outputs) for call in alike)
        kernels[kind] = probe(max(alike, key=lambda call: call.size), prober(kind), most)
    return kernels


def probe(call: Call, times: Prober, most: int) -> Kernel:
    """Find how the kernel of a call counts channels.

    Parameters
    ----------
    call : Call
        One of the layers that run on it.
    times : callable
        How a runtime measures.
    most : int
        Largest number of channels to look at.
    """
    if call.groups > 1 and not call.depthwise:
        return _proportional(call.groups)
    if call.kind == "conv_transpose" or (call.kind == "linear" and not call.size):
        return _proportional(1)
    stem = call.inputs < STEM and not call.depthwise
    base = call.inputs if stem else BASE
    pairs = _pairs(call, base, FINE)
    ms = times(call, [*pairs[1], *pairs[0]])
    made, taken = ms[: len(FINE)], ms[len(FINE) :] if len(pairs[0]) else ms
    alignment = (1 if stem else _alignment(taken), _alignment(made))
    blocks = (1 if stem else _block(taken, alignment[0]), _block(made, alignment[1]))
    counts = tuple(_tops(block, each, most) for block, each in zip(blocks, alignment, strict=True))
    odd = [n - 1 for n in _tops(8, 8, most)] if max(alignment) > 1 else []
    wanted = [
        [] if stem else _pairs(call, BASE, counts[0])[0], _pairs(call, base, counts[1])[1],
        [] if stem else _pairs(call, BASE - 1, odd)[0], _pairs(call, base if stem else BASE - 1, odd)[1],
    ]  # fmt: skip
    ms = times(call, [pair for part in wanted for pair in part])
    into, out, odd_into, odd_out = np.split(ms, np.cumsum([len(part) for part in wanted])[:-1])
    aligned = (_steps(blocks[0], counts[0], into, BASE), _steps(blocks[1], counts[1], out, BASE))
    if not odd:
        return Kernel(alignment, aligned, aligned)
    return Kernel(alignment, aligned, (_steps(1, odd, odd_into, BASE - 1), _steps(1, odd, odd_out, BASE - 1)))


def _pairs(call: Call, base: int, counts: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the pairs of inputs and outputs with these counts on either side; none of what has no such side."""
    if call.depthwise:
        return [], [(n, n) for n in counts]
    return [] if base < STEM else [(n, base) for n in counts], [(base, n) for n in counts]


def _proportional(groups: int) -> Kernel:
    """Return a kernel that is not probed: what a layer costs is proportional to its channels."""
    line = Steps(groups, (groups, BASE * groups), (1 / BASE, 1.0))
    return Kernel((1, 1), (line, line), (line, line))


def _tops(block: int, alignment: int, most: int) -> list[int]:
    """Return the tops of steps to measure: all within the first block, each up to 128 channels, then wider apart."""
    stride = max(block, 8)
    first = range(alignment, block + 1, alignment)
    counts = sorted({*first, *range(stride, 129, stride), *(n for n in LARGE if n % block == 0)})
    return [n for n in counts if n <= max(most, 2 * BASE)]


def _alignment(ms: np.ndarray) -> int:
    """Return the smallest number whose multiples go the quick way: they do not cost much more than the next sixteen.

    One of them may: what interrupted its measurement.
    """
    at = dict(zip(FINE, ms, strict=True))
    slow = np.array([at[n] > SLOW * at[-(-n // 16) * 16] for n in FINE])
    return next(b for b in reversed(BLOCKS) if slow[[n % b == 0 for n in FINE]].sum() <= (b < 16))


def _block(ms: np.ndarray, alignment: int) -> int:
    """Return the largest block within which all counts of the quick way cost the same."""
    counts = np.array([n for n in FINE if n % alignment == 0])
    values = np.array([ms[n - FINE[0]] for n in counts]) / ms[-1]
    for block in BLOCKS:
        levels = (counts - 1) // block
        middle = {level: np.median(values[levels == level]) for level in set(levels.tolist())}
        rest = np.abs(values - np.array([middle[level] for level in levels.tolist()]))
        if block <= alignment or np.quantile(rest, MOST) <= FLAT:
            return block
    return 1


def _steps(block: int, counts: Sequence[int], ms: np.ndarray, unit: int) -> Steps:
    """Return measured steps; none where that side was not measured."""
    if not len(ms):
        return Steps(1, (1,), (1.0,))
    quiet = _undisturbed(np.array(counts), ms)
    return Steps(block, tuple(counts), tuple((quiet / quiet[list(counts).index(unit)]).tolist()))


def _undisturbed(counts: np.ndarray, ms: np.ndarray) -> np.ndarray:
    """Return times without what interrupted them, which only adds: fewer channels cost no more.

    But for a few, which INT8's kernels have a slow way for: at most twice as much.
    """
    quiet = ms.copy()
    many = counts >= FEW
    quiet[many] = np.minimum.accumulate(ms[many][::-1])[::-1]
    if many.any():
        quiet[~many] = np.minimum(ms[~many], 2 * quiet[many][0])
    return quiet
