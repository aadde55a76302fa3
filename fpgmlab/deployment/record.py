"""What an exported file says of itself: where its network comes from, by which versions, and whether it was changed."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fpgmlab.common.files import as_path
from fpgmlab.errors import shown
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import provenance

if TYPE_CHECKING:
    import onnx

PREFIX = "fpgmlab."
SEAL = f"{PREFIX}seal"
UNSEALED = "unsealed" * 8  # stands where the seal will be while the file's bytes are summed


@dataclass(frozen=True)
class ExportRecord:
    """What an exported file says of itself; see `fpgmlab.check_export`.

    Attributes
    ----------
    path : str
    dtype : str
        "float32", "float16" or "int8": what its weights are.
    opset : int
    architecture : str or None
        Name for `fpgmlab.models.build`.
    plans : tuple of Plan
        What was pruned, one after the other.
    repaired : tuple of bool
        Whether `fpgmlab.repair` refitted the weights after each of them.
    notes : dict
        What the caller of the export noted, such as the criterion.
    versions : dict
        Of fpgmlab, torch and others that took part.
    sha256 : str
        Of the whole file, as ``sha256sum`` prints it.
    """

    path: str
    dtype: str
    opset: int
    architecture: str | None
    plans: tuple[Plan, ...]
    repaired: tuple[bool, ...]
    notes: Mapping[str, Any]
    versions: Mapping[str, str]
    sha256: str

    @property
    def channels_left(self) -> float:
        """Share of the channels of all groups that the plans leave; 1 for a network that was not pruned."""
        return channels_left(self.plans)


def check_export(path: str | os.PathLike[str]) -> ExportRecord:
    """Return what an exported file says of itself, once it is clear that it is as it was written.

    Parameters
    ----------
    path : path-like
        An ONNX file of `fpgmlab.export_onnx` or `fpgmlab.quantize`.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a file that was changed since, or that was not written by fpgmlab.
    """
    import onnx

    content = as_path(path).read_bytes()
    name = os.fspath(path)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf has an error of its own in each version
        raise ValueError(f"{name!r} is not an ONNX file, or only a part of one: {error}") from error
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if SEAL not in entries:
        raise ValueError(
            f"{name!r} was not written by fpgmlab, or by something else since: nothing tells whether it was changed"
        )
    if seal_of(content, entries[SEAL]) != entries[SEAL]:
        raise ValueError(
            f"{name!r} was changed after it was exported: its content no longer fits the hash in it. Export it again"
        )
    said = {key.removeprefix(PREFIX): value for key, value in entries.items() if key.startswith(PREFIX)}
    return ExportRecord(
        name,
        said["dtype"],
        opset_of(model),
        json.loads(said["architecture"]),
        plans_of(said),
        tuple(json.loads(said["repaired"])),
        json.loads(said["notes"]),
        json.loads(said["versions"]),
        hashlib.sha256(content).hexdigest(),
    )


def check_unchanged(path: str | os.PathLike[str]) -> None:
    """Raise a ValueError for a file that fpgmlab exported and that was changed since; others pass."""
    import onnx

    content = as_path(path).read_bytes()
    if SEAL.encode() in content:
        entries = {entry.key: entry.value for entry in onnx.load_model_from_string(content).metadata_props}
        if SEAL in entries:
            check_export(path)


def record_of(model: nn.Module, dtype: str, notes: Mapping[str, Any]) -> dict[str, str]:
    """Return the entries that tell where a model comes from.

    Raises
    ------
    TypeError
        For notes that are no mapping, or that JSON cannot hold.
    """
    if not isinstance(notes, Mapping):
        raise TypeError(f"notes must be a dictionary, such as {{'criterion': 'fpgm'}}; got {shown(notes)}")
    made = provenance(model)
    plans = [json.loads(plan.to_json()) for plan in made.plans]
    return {
        "dtype": dtype,
        "architecture": json.dumps(made.architecture),
        "options": json.dumps(dict(made.options)),
        "plans": json.dumps(plans),
        "repaired": json.dumps(list(made.repaired)),
        "notes": json.dumps(dict(notes)),
        "versions": json.dumps(versions()),
    }


def plans_of(entries: Mapping[str, str]) -> tuple[Plan, ...]:
    """Return the plans that entries tell of."""
    return tuple(Plan.from_json(json.dumps(plan)) for plan in json.loads(entries["plans"]))


def channels_left(plans: Iterable[Plan]) -> float:
    """Return the share of the channels that plans leave, one after the other."""
    return math.prod(sum(plan.kept.values()) / max(sum(plan.widths.values()), 1) for plan in plans)


def blank_entries() -> dict[str, str]:
    """Return the entries of a file of which nothing is known."""
    return record_of(nn.Module(), "float32", {})


def versions() -> dict[str, str]:
    """Return the versions of what takes part in an export."""
    import onnx
    import torch

    import fpgmlab

    return {"fpgmlab": fpgmlab.__version__, "torch": torch.__version__, "onnx": onnx.__version__}


def entries_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the entries of a file that fpgmlab exported, without its seal; none of another one."""
    import onnx

    model = onnx.load(os.fspath(path), load_external_data=False)
    found = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    return {key.removeprefix(PREFIX): value for key, value in found.items() if key != SEAL}


def write_sealed(model: onnx.ModelProto, path: str | os.PathLike[str], entries: Mapping[str, str]) -> None:
    """Write an ONNX model with entries, and a hash of all its bytes; what told of the exporter's code is left out."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.metadata_props[:]
    for key, text in {**{PREFIX + key: text for key, text in entries.items()}, SEAL: UNSEALED}.items():
        model.metadata_props.add(key=key, value=text)
    content = model.SerializeToString()
    Path(path).write_bytes(content.replace(UNSEALED.encode(), seal_of(content, UNSEALED).encode()))


def seal_of(content: bytes, seal: str) -> str:
    """Return the hash of a file's bytes with nothing where its seal stands; empty when that is not in one place."""
    if content.count(seal.encode()) != 1:
        return ""
    return hashlib.sha256(content.replace(seal.encode(), UNSEALED.encode())).hexdigest()


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return a file's SHA-256, as ``sha256sum`` prints it."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of a model's operators in the default domain."""
    return next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
