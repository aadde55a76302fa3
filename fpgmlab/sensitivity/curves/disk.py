"""Curves on disk: one Parquet file with the sums, and everything else as JSON in its metadata."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fpgmlab.common.files import as_path, atomic_path, whole
from fpgmlab.sensitivity.curves.intervals import Paired, Sums
from fpgmlab.sensitivity.curves.states import Known, States

FORMAT = "fpgmlab-curves/1"
NAME = "curves.parquet"  # in the folder of a sweep
_KEY = b"fpgmlab"


def write_fields(path: str | os.PathLike[str], fields: Mapping[str, Any], record: Mapping[str, Any] | None) -> None:
    """Write the fields of `fpgmlab.Curves` to a Parquet file, whole or not at all; all numbers come back bit by bit.

    A row for each point and metric: group, kept, metric, samples, value, base, square (see
    `intervals.Paired`), and rows without a group for the unpruned network. For metrics of a task's
    own instead of the last three: states, higher_is_better, share, found (see `states.States`).

    Parameters
    ----------
    path : path-like
    fields : mapping
        All of `fpgmlab.Curves`, by name.
    record : mapping or None
        Of a sweep that is under way: anything that JSON can hold, kept in the file's metadata.
    """
    import pyarrow as pa
    from pyarrow import parquet

    keys = [(None, None, metric) for metric in fields["whole"]] + list(fields["sums"])
    sums = [*fields["whole"].values(), *fields["sums"].values()]
    columns = {
        "group": pa.array([group for group, _, _ in keys], pa.string()),
        "kept": pa.array([kept for _, kept, _ in keys], pa.int64()),
        "metric": pa.array([metric for _, _, metric in keys], pa.string()),
        "samples": pa.array([part.samples for part in sums], pa.int64()),
        **{n: pa.array([getattr(part, n, None) for part in sums], pa.float64()) for n in ("value", "base", "square")},
    }
    if any(isinstance(part, States) for part in sums):
        columns |= _states_columns(sums, [metric for _, _, metric in keys], fields["complete"] or record is None)
    metadata = {
        "format": FORMAT,
        "widths": dict(fields["widths"]),
        "changes": dict(fields["changes"]),
        "complete": fields["complete"],
        "repaired": fields["repaired"],
        "scores": {name: _packed(score) for name, score in fields["scores"].items()},
        "record": dict(record or {}),
    }
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(metadata)})
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)


def read_fields(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Read what `write_fields` wrote: the fields of `fpgmlab.Curves` and the record.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is damaged, foreign, or of another version.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {whole(path)}")
    try:
        table = parquet.ParquetFile(path).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{str(path)!r} is half-written, damaged or no Parquet file ({error}). "
            "Restore it, or delete it and sweep anew."
        ) from error
    try:
        metadata = json.loads((table.schema.metadata or {})[_KEY])
        if metadata["format"] != FORMAT:
            raise ValueError(f"format {metadata['format']!r}; this version reads {FORMAT!r}")
        found = {(row["group"], row["kept"], row["metric"]): _sums(row) for row in table.to_pylist()}
        fields = {
            "sums": {key: part for key, part in found.items() if key[0] is not None},
            "whole": {metric: part for (group, _, metric), part in found.items() if group is None},
            "widths": metadata["widths"],
            "changes": metadata["changes"],
            "complete": metadata["complete"],
            "repaired": metadata.get("repaired", False),  # older files do not tell
            "scores": {name: _unpacked(*packed) for name, packed in metadata["scores"].items()},
        }
        return fields, metadata["record"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} does not hold curves of fpgmlab that this version can read ({error!r}). "
            "Read it with the version that wrote it, or delete it and sweep anew."
        ) from error


def _states_columns(sums: Sequence[Sums], metrics: Sequence[str], computed: bool) -> dict[str, Any]:
    """Return the states of metrics of a task's own, and, unless it takes too long, what follows from them."""
    import pyarrow as pa

    state = pa.struct([("samples", pa.int64()), ("state", pa.large_binary()), ("base", pa.large_binary())])
    states = [part if isinstance(part, States) else None for part in sums]
    known: dict[str, Known] = {metric: {} for metric in metrics}
    found = [
        part.all_found(known[metric]) if part and part.parts and (computed or part.found) else None
        for part, metric in zip(states, metrics, strict=True)
    ]
    parts = [[dict(zip(("samples", "state", "base"), p, strict=True)) for p in s.parts] if s else None for s in states]
    return {
        "states": pa.array(parts, pa.list_(state)),
        "higher_is_better": pa.array([part and part.higher_is_better for part in states], pa.bool_()),
        "share": pa.array([part and part.share for part in states], pa.bool_()),
        "found": pa.array([list(ends) if ends else None for ends in found], pa.list_(pa.float64())),
    }


def _sums(row: Mapping[str, Any]) -> Sums:
    if row.get("states") is None:
        return Paired(row["samples"], row["value"], row["base"], row["square"])
    parts = tuple((part["samples"], part["state"], part["base"]) for part in row["states"])
    share = bool(row.get("share"))  # older files do not tell
    return States(parts, row["higher_is_better"], share, tuple(row["found"]) if row["found"] else None)


def _packed(score: Tensor) -> tuple[str, str]:
    plain = score.detach().to("cpu").contiguous()
    return str(plain.dtype).removeprefix("torch."), base64.b64encode(plain.view(torch.uint8).numpy().data).decode()


def _unpacked(dtype: str, text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=getattr(torch, dtype))
