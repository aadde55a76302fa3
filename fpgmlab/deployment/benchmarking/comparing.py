"""Latency, throughput, memory, size and parity of networks in several runtimes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from fpgmlab.common.files import whole
from fpgmlab.common.given import described
from fpgmlab.common.numbers import whole_number
from fpgmlab.deployment.benchmarking.memory import Job, peaks
from fpgmlab.deployment.benchmarking.rounds import interleaved, pinned
from fpgmlab.deployment.benchmarking.sources import Network, Unfit, reason
from fpgmlab.deployment.converters.report import answers, arrays, errors, in_float32
from fpgmlab.deployment.machine import cores
from fpgmlab.deployment.record import check_unchanged
from fpgmlab.deployment.runtimes import RUNTIMES, Session, TorchCompiled
from fpgmlab.deployment.runtimes.runtime import Source
from fpgmlab.errors import one_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class _Row:
    """One network in one runtime."""

    network: Network
    runtime: str
    source: Source | None = None
    session: Session | None = None
    parity: float = math.nan
    note: str = ""


def benchmark(
    networks: Mapping[str, nn.Module | str | os.PathLike[str]],
    example_input: object,
    *,
    runtimes: Sequence[str] = ("torch", "onnxruntime"),
    batch: int | None = None,
    threads: int | None = None,
    rounds: int = 30,
    warmup: int = 3,
    memory: bool = True,
) -> pd.DataFrame:
    """Run networks in several runtimes beside each other, on the CPU, in float32.

    Models are written as each runtime reads them, for the shapes of the example; files are run as they are. Runtimes
    take turns, and within a runtime its networks, so that a slow moment of the machine meets all of them; the process
    keeps to as many processors as there are threads, where the system can.

    Parameters
    ----------
    networks : mapping of str to nn.Module or path-like
        Models, left as they are, or files (``.onnx``, ``.xml``, ``.ncnn.param``, ``.pte``), by the name to show.
    example_input : Tensor, tuple or dict
        What to run, (batch, ...), as `fpgmlab.trace` takes it.
    runtimes : sequence of str
        Of "torch", "torch.compile", "onnxruntime", "openvino", "ncnn", "executorch".
    batch : int, optional
        Examples at once, the given ones over and over; all given ones when left out.
    threads : int, optional
        Within one operation; all processors that the process may use when left out.
    rounds, warmup : int
        Measured rounds, and runs before them. What takes less than a millisecond runs several times in each round.
    memory : bool
        Whether to measure memory, each in a process of its own.

    Returns
    -------
    pandas.DataFrame
        A row for each network and runtime: name, runtime, median_ms, low_ms, high_ms (the 10th and 90th percentile),
        throughput (examples a second), relative (the median of each round's time over that of the first network in this
        runtime), memory (the peak of bytes that opening and running takes; NaN where it cannot be measured), bytes (of
        its files), parity (largest difference to torch relative to the largest output; NaN for files), version, note.
        Where a runtime cannot take a network, the numbers are NaN and ``note`` says why.

    Raises
    ------
    ValueError
        For unknown runtimes, more threads than processors, an example that a model does not take, a file that was
        changed after it was exported.
    FileNotFoundError
        For a file that is not there.
    ImportError
        For a runtime that is not installed, with the extra that installs it.
    TypeError
        For networks that are no dictionary, or one that is neither a model nor a path.
    """
    threads = _checked(networks, runtimes, batch, threads, {"rounds": rounds, "warmup": warmup})
    versions = {name: RUNTIMES[name].awake() for name in runtimes}
    with TemporaryDirectory() as folder, ExitStack() as held:
        found = [
            _network(name, given, example_input, batch, Path(folder) / str(number))
            for number, (name, given) in enumerate(networks.items())
        ]
        wanted = {network.name: _wanted(network) for network in found}
        rows = [_Row(network, name) for network in found for name in runtimes]
        for row in rows:
            with _told(row):
                row.source = row.network.source(row.runtime, RUNTIMES[row.runtime])
        held.enter_context(pinned(threads))
        for name in runtimes:
            held.enter_context(RUNTIMES[name].threads(threads))
        for row in rows:
            with _told(row):
                _open(row, threads, wanted[row.network.name])
        groups = [[row for row in rows if row.runtime == name and row.session] for name in runtimes]
        times = interleaved([[_run(row) for row in group] for group in groups], rounds, warmup)
        ms = {
            id(row): taken
            for group, both in zip(groups, times, strict=True)
            for row, taken in zip(group, both, strict=True)
        }
        held.close()  # memory is measured by other processes, with their own settings
        grown = _memory([row for row in rows if row.session], threads) if memory else {}
        return _frame(rows, ms, grown, versions)


def _checked(
    networks: Mapping[str, object],
    runtimes: Sequence[str],
    batch: int | None,
    threads: int | None,
    counts: dict[str, int],
) -> int:
    """Return the number of threads; raise a `ValueError` for what cannot be asked."""
    if not isinstance(networks, Mapping):
        raise TypeError(
            f"networks must be models or files by the name to show, as {{'pruned': model}}; got {described(networks)}"
        )
    if not networks or not runtimes:
        raise ValueError(f"there must be a network and a runtime; got {list(networks)} and {list(runtimes)}")
    if isinstance(runtimes, str) or len(set(runtimes)) < len(runtimes):
        raise ValueError(f"runtimes must be a list of names, each once; got {runtimes!r}")
    for name in runtimes:
        if name not in RUNTIMES:
            raise ValueError(one_of("runtimes", name, RUNTIMES))
    for name, value in (counts | ({} if batch is None else {"batch": batch})).items():
        whole_number(name, value)
    most = cores()
    if threads is None:
        return most
    if whole_number("threads", threads) > most:
        raise ValueError(f"threads={threads}, but this process may use {most} processor{'s' * (most > 1)}")
    return threads


def _network(name: str, given: object, example_input: object, batch: int | None, folder: Path) -> Network:
    """Return a network and its example, of so many examples, in float32."""
    model: Source
    if isinstance(given, nn.Module):
        model, example = in_float32(given, example_input)
    elif isinstance(given, str | os.PathLike):
        model, example = Path(given), in_float32(nn.Identity(), example_input)[1]
        if not model.is_file():
            raise FileNotFoundError(f"{name!r}: there is no file {whole(given)}")
        if model.suffix == ".onnx":
            check_unchanged(model)
    else:
        raise TypeError(f"{name!r} must be a model or the path of a file; got {described(given)}")
    if batch is not None:
        example = example.times(batch)
    return Network(name, model, example, folder)


def _wanted(network: Network) -> list[np.ndarray] | None:
    """Return what torch says, where there is a model."""
    if not isinstance(network.given, nn.Module):
        return None
    try:
        return answers(network.given, network.example)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in network.example.named.values())
        raise ValueError(f"{network.name!r} does not take the example, {shapes}: {reason(error)}") from error


@contextmanager
def _told(row: _Row) -> Iterator[None]:
    """Note in the row why it cannot be run."""
    try:
        yield
    except Unfit as error:
        row.note = str(error)
    except Exception as error:  # runtimes fail in many ways
        row.note, row.session = reason(error), None


def _open(row: _Row, threads: int, wanted: list[np.ndarray] | None) -> None:
    if row.source is None:
        return
    session = RUNTIMES[row.runtime].open(row.source, row.network.example, threads)
    got = session.run(arrays(row.network.example))
    if wanted is not None:
        row.parity = errors(wanted, got)[1]
    row.session = session


def _run(row: _Row) -> Callable[[], object]:
    session, inputs = row.session, arrays(row.network.example)
    assert session is not None
    return lambda: session.run(inputs)


def _memory(rows: Sequence[_Row], threads: int) -> dict[int, float]:
    # Another process would compile once more: what compiling takes is not what running does.
    told = [row for row in rows if row.source is not None and not isinstance(RUNTIMES[row.runtime], TorchCompiled)]
    jobs = [Job(row.runtime, row.source, row.network.example, threads) for row in told if row.source is not None]
    return dict(zip(map(id, told), peaks(jobs), strict=True))


def _frame(
    rows: Sequence[_Row], times: Mapping[int, np.ndarray], grown: Mapping[int, float], versions: Mapping[str, str]
) -> pd.DataFrame:
    import pandas as pd

    nothing = np.array([math.nan])
    first = rows[0].network
    base = {row.runtime: times.get(id(row), nothing) for row in rows if row.network is first}
    told = []
    for row in rows:
        taken = times.get(id(row), nothing)
        median, low, high = np.percentile(taken, (50, 10, 90)).tolist()
        told.append(
            {
                "name": row.network.name, "runtime": row.runtime, "median_ms": median, "low_ms": low, "high_ms": high,
                "throughput": 1e3 * (row.network.example.batch or 1) / median,
                "relative": float(np.median(taken / base[row.runtime])),
                "memory": grown.get(id(row), math.nan), "bytes": row.session.bytes if row.session else math.nan,
                "parity": row.parity, "version": versions[row.runtime], "note": row.note,
            }
        )  # fmt: skip
    return pd.DataFrame(told)
