"""The reader of torch's zip files: a pickle machine in which every name is our own."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from typing import Any, BinaryIO

import torch
from torch import Tensor

from fpgmlab.checkpoints.unpickling.checks import are_counts, check_names, check_sizes, check_storage, check_view
from fpgmlab.checkpoints.unpickling.formats import LONGEST, looks_like
from fpgmlab.checkpoints.unpickling.inert import (
    DTYPES,
    MAKERS,
    STORAGES,
    Building,
    Loading,
    Maker,
    NameType,
    Record,
    Storage,
)
from fpgmlab.checkpoints.unpickling.limits import USUAL, Limits
from fpgmlab.checkpoints.unpickling.opcodes import check_opcodes
from fpgmlab.common.files import as_path, whole

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that checkpoints before torch 1.6 begin with


def read_checkpoint(path: str | os.PathLike[str]) -> object:
    """Return what a file of ``torch.save`` at a path holds, without running anything that it names.

    Dicts, lists, tuples, sets, strings, bytes and numbers come back as themselves (an OrderedDict as a dict, a
    ``torch.Size`` as a tuple, a device as a string), parameters and tensors as plain tensors on the CPU without
    gradient, and every other object as a `Record`. A class or function that the file only mentions is an inert
    class with the name in ``.cls``.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is not a zip file of ``torch.save`` (a TorchScript archive, the format before torch 1.6, ...), is
        damaged, or asks for what data alone does not need.
    """
    return read_within(path, USUAL)


def read_within(path: str | os.PathLike[str], limits: Limits) -> object:
    """Return what `read_checkpoint` does, with other limits."""
    path = as_path(path)
    if not path.is_file():
        inside = sorted(str(file) for pattern in ("*.pt", "weights/*.pt") for file in path.glob(pattern))
        what = f"{whole(path)} is a folder" + (f" with {inside[:4]}" if inside else "") if path.is_dir() else ""
        raise FileNotFoundError(f"{what or f'no file {whole(path)}'}; expected a checkpoint written by torch.save")
    with path.open("rb") as file:
        try:
            return _read(file, path.stat().st_size, limits)
        except Exception as error:  # zipfile, pickle and torch raise nearly anything on bytes made for that
            reason = str(error) if type(error) is ValueError else f"it is damaged ({type(error).__name__}: {error})"
            raise ValueError(f"{str(path)!r} cannot be read as a torch checkpoint: {reason}") from error


def _read(file: BinaryIO, size: int, limits: Limits) -> object:
    head = file.read(LONGEST)
    if head.startswith(_LEGACY):
        raise ValueError(
            "it has the format before torch 1.6, without a zip archive. Write it anew: "
            "torch.save(torch.load(path, weights_only=True), new_path)"
        )
    if head[:4] != b"PK\x03\x04":
        found = f"it starts with {head[:12]!r}" if head else "it is empty"
        guess = f"It looks like {like}." if (like := looks_like(head)) else "Was it fetched completely?"
        raise ValueError(f"{found}; expected the zip archive that torch.save writes. {guess}")
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"the zip archive is truncated or damaged ({error}): of {size:,} bytes. Fetch or write it again."
        ) from error
    with archive:
        return _Reader(archive, _checked_prefix(archive, size, limits), limits).read()


def _checked_prefix(archive: zipfile.ZipFile, size: int, limits: Limits) -> str:
    """Return the folder that all members lie in, after a look at the members' names and sizes."""
    members = archive.infolist()
    names = [member.filename for member in members]
    prefix = names[0].split("/")[0] if names else ""
    if f"{prefix}/data.pkl" not in names:
        packed = [name for name in names if name.endswith((".pt", ".pth"))]
        hint = f" Unpack {packed[0]!r} first." if packed else ""
        raise ValueError(
            f"there is no data.pkl in the zip archive, but {names[:4]}; expected a file of torch.save.{hint}"
        )
    if any(name.startswith(f"{prefix}/code/") for name in names):
        raise ValueError(
            "it is a TorchScript archive, which holds a program. Save the state dict of the model where you trust it: "
            "torch.save(torch.jit.load(path).state_dict(), new_path)"
        )
    check_names(names, prefix)
    compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    check_sizes(sum(member.file_size for member in members), size, compressed, limits)
    if f"{prefix}/byteorder" in names and (order := archive.read(f"{prefix}/byteorder")) != b"little":
        raise ValueError(f"its numbers have byte order {order[:12]!r}; only 'little' can be read")
    return prefix


class _Reader(pickle.Unpickler):
    """The pickle machine, where every name and every storage is our own."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, limits: Limits) -> None:
        content = archive.read(f"{prefix}/data.pkl")
        check_opcodes(content, limits)
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._archive, self._prefix, self._limits = archive, prefix, limits
        self._members = frozenset(archive.namelist())
        self._untyped: dict[str, torch.UntypedStorage] = {}
        self._names: dict[str, type] = {}
        self._records: list[Building] = []
        self._tensors: list[Tensor] = []

    def read(self) -> object:
        """Return what the file holds."""
        content = self.load()
        for tensor in self._tensors:
            tensor.__class__ = Tensor
        for record in self._records:
            object.__setattr__(record, "__class__", Record)
        return content

    def find_class(self, module: str, name: str) -> object:
        """Return our own thing for a name; nothing is looked up outside of the tables here."""
        module = "builtins" if module == "__builtin__" else module  # as protocol 2 has it
        if (module, name) in STORAGES:
            return STORAGES[module, name]
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if f"{module}.{name}" in MAKERS:
            return MAKERS[f"{module}.{name}"]
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return Maker(self._tensor)
        if module == "torch._utils" and name == "_rebuild_tensor_v3":  # the dtypes without a storage class
            return Maker(lambda s, *a: self._tensor(Storage(s.untyped, a[5]), *a[:5], *a[6:]))
        return self._name(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that a persistent id means; where it was when saved does not matter."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and isinstance(pid[1], torch.dtype)):
            raise ValueError("it refers to something outside that is no storage of a tensor")
        kind, dtype, key, _, numel = pid
        name = f"{self._prefix}/data/{key}" if isinstance(key, str) else ""
        if kind != "storage" or name not in self._members or not are_counts([numel], self._limits):
            raise ValueError(f"storage {name!r} is missing from its zip archive, or has no size")
        if key not in self._untyped:
            content = bytearray(self._archive.read(name))
            whole = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            self._untyped[key] = whole.untyped_storage()
        untyped = self._untyped[key]
        check_storage(name, untyped.nbytes(), numel, dtype)
        return Storage(untyped, dtype)

    def _name(self, name: str) -> type:
        def make(_cls: type, /, *args: Any, **kwargs: Any) -> Record:
            record = Building(name, args, kwargs)
            self._records.append(record)
            return record

        if name not in self._names:
            self._names[name] = NameType("Name", (), {"__slots__": (), "__new__": make, "cls": name})
        return self._names[name]

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
        """Make a view of a storage; the rest is: requires gradient, hooks, metadata."""
        if not (isinstance(storage, Storage) and isinstance(storage.dtype, torch.dtype)):
            raise ValueError("a tensor is not made of a storage")
        check_view(offset, size, stride, storage.untyped.nbytes() // storage.dtype.itemsize, self._limits)
        if len(rest) > 2 and rest[2]:
            raise ValueError("a tensor is a conjugate or negative view: call resolve_conj() or resolve_neg() first")
        tensor = torch.empty(0, dtype=storage.dtype).set_(storage.untyped, offset, size, stride)
        tensor.__class__ = Loading
        self._tensors.append(tensor)
        return tensor
