"""Time taken in turns, so that a slow moment of the machine meets all, on processors of one's own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

LEAST = 1e-3  # seconds: what is quicker is run several times in a row
LONG = 2e-2  # seconds: what takes longer does not mind what ran before it
OPEN = 1.25  # ends of a ratio's interval that are further apart than this say little
BUSY = 2.0  # a network's slow rounds over its quick ones: above, most of them waited
REST = 1e-2  # seconds: by then the threads of the runtime before are asleep

Run = Callable[[], object]


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keep this thread, and those that it starts, on so many processors, where the system can; on exit as before."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before, others = os.sched_getaffinity(0), set(_tasks())
    os.sched_setaffinity(0, sorted(before)[-threads:])  # interrupts prefer the first
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        for task in set(_tasks()) - others:  # pools outlive what started them
            with suppress(OSError):  # it has ended meanwhile
                os.sched_setaffinity(task, before)


def _tasks() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return []


def interleaved(groups: Sequence[Sequence[Run]], rounds: int, warmup: int) -> list[np.ndarray]:
    """Return the milliseconds of each run, (runs of the group, rounds) for each group.

    In every round the groups take turns, and within a group its runs, every other round the other way about. What is
    quick is run several times in a row, after once that does not count.
    """
    found = [np.empty((len(group), rounds)) for group in groups]
    often = [[_often(run, warmup) for run in group] for group in groups]
    for round_ in range(rounds):
        for group, times, ms in zip(groups, often, found, strict=True):
            if len(groups) > 1:
                time.sleep(REST)
            for i in range(len(group))[:: -1 if round_ % 2 else 1]:
                ms[i, round_] = _milliseconds(group[i], times[i])
    return found


def unsteady(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Return what is to be said of a ratio of times that the rounds leave open; nothing where they agree.

    Parameters
    ----------
    ours, theirs : ndarray, (rounds,)
        Milliseconds in each round; the ratio is that of ours to theirs.

    Notes
    -----
    The interval of the median is that between order statistics, which holds for any distribution (Conover, *Practical
    Nonparametric Statistics*, 1999, section 3.2), at 95 %; few rounds leave all of their range.
    """
    ratios = ours / theirs
    count = len(ratios)
    least = math.floor((count - 1.96 * math.sqrt(count)) / 2)  # so many lie below its lower end
    ordered = np.sort(ratios)
    low, high = (ordered[least], ordered[-1 - least]) if least >= 0 else (ordered[0], ordered[-1])
    if high <= OPEN * low:
        quick, slow = np.percentile([ours, theirs], (10, 90), axis=1)
        if (slow <= BUSY * quick).all():
            return ""
        return (
            f"the machine was busy: slow rounds took {(slow / quick).max():.1f} times as long as quick ones. Waiting "
            f"is in the ratio; the quick rounds say {quick[0] / quick[1]:.2f}. Let nothing else run on the machine"
        )
    return (
        f"the rounds do not agree: relative lies between {low:.2f} and {high:.2f} (95 %). Let nothing else run on the "
        "machine, or measure more runs"
    )


def _often(run: Run, warmup: int) -> int:
    """Return how often to run in a row; 0 for once, with nothing before it."""
    seconds = []
    for _ in range(max(1, warmup)):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return 0 if min(seconds) > LONG else math.ceil(LEAST / max(min(seconds), 1e-7))


def _milliseconds(run: Run, often: int) -> float:
    if often:
        run()
    times = max(1, often)
    started = time.perf_counter()
    for _ in range(times):
        run()
    return 1e3 * (time.perf_counter() - started) / times
