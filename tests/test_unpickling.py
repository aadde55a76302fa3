"""Checkpoints are read as data: the tensors are those of torch, and nothing that a file names is run."""

from __future__ import annotations

import copyreg
import importlib
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fpgmlab.unpickling import Record, read_checkpoint, tensors_of

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


def saved(content: object, path: Path) -> object:
    torch.save(content, path)
    return read_checkpoint(path)


def archive(path: Path, content: bytes, members: dict[str, bytes] | None = None, **options: int) -> Path:
    """Write a checkpoint around a pickle made by hand."""
    with zipfile.ZipFile(path, "w", **options) as file:
        file.writestr("archive/data.pkl", content)
        for name, data in (members or {}).items():
            file.writestr(name, data)
    return path


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    layout = (ours.dtype, ours.shape, ours.stride(), ours.storage_offset(), ours.device)
    if type(ours) is not torch.Tensor or layout != (
        theirs.dtype, theirs.shape, theirs.stride(), theirs.storage_offset(), theirs.device,
    ):  # fmt: skip
        return False
    return bytes(ours.untyped_storage()) == bytes(theirs.untyped_storage())


# What is there is read


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_are_those_of_torch(tmp_path: Path, dtype: torch.dtype):
    whole = (torch.rand(6, 4) * 9).to(dtype)
    state = {"whole": whole, "turned": whole.t(), "part": whole[2:5, 1::2], "scalar": whole[0, 0], "empty": whole[:0]}
    state |= {"wide": whole[0].expand(3, 4), "own": whole.clone(), "none": torch.empty(0, 3, dtype=dtype)}
    read = saved(state, tmp_path / "a.pt")
    oracle = torch.load(tmp_path / "a.pt", weights_only=True)
    assert list(read) == list(oracle)
    assert all(same(read[name], oracle[name]) for name in oracle)
    assert read["part"].untyped_storage().data_ptr() == read["whole"].untyped_storage().data_ptr()
    assert read["own"].untyped_storage().data_ptr() != read["whole"].untyped_storage().data_ptr()


def test_a_state_dict_is_read_whole(tmp_path: Path):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)).half()
    read = saved(model.state_dict(), tmp_path / "a.pt")
    assert tensors_of(read) is read
    assert list(read) == list(model.state_dict())
    assert all(same(read[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(tensor.requires_grad for tensor in read.values())


def test_plain_data_comes_back(tmp_path: Path):
    content = {
        "n": None, "b": True, "i": -3, "big": 10**30, "f": 0.5, "c": 1 + 2j, "s": "é\0", "bytes": b"\0\xff", "no": b"",
        "array": bytearray(b"ab"), "list": [1, [2]], "tuple": (1, (2,), ()), "set": {1, 2}, "ice": frozenset({3}),
        "slice": slice(1, None), 5: OrderedDict(a=1, b=OrderedDict(z=2)),
    }  # fmt: skip
    assert saved(content, tmp_path / "a.pt") == content
    content = {"size": torch.Size([2, 3]), "dtype": torch.bfloat16, "device": torch.device("cuda", 1)}
    assert saved(content, tmp_path / "a.pt") == {"size": (2, 3), "dtype": torch.bfloat16, "device": "cuda:1"}


def test_other_objects_become_records(tmp_path: Path):
    mapping, space = defaultdict(list, a=[1]), types.SimpleNamespace(x=1)
    content = [pathlib.PurePosixPath("a/b"), np.float64(0.5), np.arange(3), mapping, space, os.mkdir]
    read = saved(content, tmp_path / "a.pt")
    path, scalar, array, mapping, space, function = read
    assert (path.cls.split(".")[-1], path.args) == ("PurePosixPath", ("a", "b"))
    assert all(type(record) is Record for record in (path, scalar, array, mapping, space))
    assert (mapping.cls, mapping.mapping) == ("collections.defaultdict", {"a": [1]})
    assert (space.cls, space.args, space.state) == ("types.SimpleNamespace", (), {"x": 1})
    assert function.cls == f"{os.mkdir.__module__}.mkdir"
    assert function is not os.mkdir
    with pytest.raises(AttributeError):
        path.cls = "other"


class List(list):
    pass


def test_a_list_of_some_class_keeps_its_items(tmp_path: Path):
    read = saved(List([1, 2]), tmp_path / "a.pt")
    assert (read.cls, read.items) == ("tests.test_unpickling.List", [1, 2])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from([2, 3, 4, 5]),
)
def test_any_plain_data_of_any_protocol(tmp_path_factory: pytest.TempPathFactory, content: object, protocol: int):
    path = tmp_path_factory.getbasetemp() / "any.pt"
    torch.save(content, path, pickle_protocol=protocol)
    assert read_checkpoint(path) == content


# Modules


@pytest.fixture
def foreign() -> Iterator[type[nn.Module]]:
    """Give a class in a module that exists only while it is saved."""
    module = types.ModuleType("somewhere_else")
    source = """
from torch import nn, zeros
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.head, self.gone = nn.Linear(4, 4), None
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.head.weight
        self.again = self.stem
        self.register_buffer("kept", zeros(2))
        self.register_buffer("hidden", zeros(2), persistent=False)
        self.register_buffer("absent", None)
        self.register_module("none", None)
        self.names = ["cat", "dog"]
"""
    exec(source, module.__dict__)
    module.Net.__module__ = "somewhere_else"
    sys.modules["somewhere_else"] = module
    yield module.Net
    sys.modules.pop("somewhere_else", None)


def test_a_module_of_an_unknown_class_gives_its_state_dict(tmp_path: Path, foreign: type[nn.Module]):
    model = foreign()
    torch.save({"model": model, "epoch": 3}, tmp_path / "a.pt")
    del sys.modules["somewhere_else"]
    read = read_checkpoint(tmp_path / "a.pt")
    assert read["model"].cls == "somewhere_else.Net"
    assert read["model"].state["names"] == ["cat", "dog"]
    tensors = tensors_of(read["model"])
    assert list(tensors) == list(model.state_dict())
    assert all(same(tensors[name], tensor) for name, tensor in model.state_dict().items())
    assert tensors["tied.weight"] is tensors["head.weight"]
    with pytest.raises(ValueError, match=r"'this' is a dict with keys \['model', 'epoch'\]; expected a Record"):
        tensors_of(read)


def test_what_is_no_module_is_named():
    with pytest.raises(ValueError, match="'this' is <Record of a.B>; expected a Record of a torch module"):
        tensors_of(Record("a.B", state={"_modules": {}}))
    with pytest.raises(ValueError, match="'this' is of type list"):
        tensors_of([1])
    empty = {"_parameters": {}, "_buffers": {}}
    loop = Record("a.B", state=empty | {"_modules": {}})
    loop.state["_modules"] |= {"left": loop, "right": loop}
    with pytest.raises(ValueError, match="contains itself"):
        tensors_of(loop)
    odd = Record("a.B", state=empty | {"_modules": {}, "_parameters": {"w": Record("x.Quantised")}})
    with pytest.raises(ValueError, match="'c.w' is <Record of x.Quantised>; expected a tensor"):
        tensors_of(Record("a.B", state=empty | {"_modules": {"c": odd}}))


# Harm


class Call:
    """Pickled as a call."""

    def __init__(self, function: Callable, *args: object, state: object = None) -> None:
        self.function, self.args, self.state = function, args, state

    def __reduce__(self):
        return (self.function, self.args) if self.state is None else (self.function, self.args, self.state)

    def __call__(self) -> None:
        """Pass as a function when the result of one call is to be called."""


def harms(canary: Path) -> dict[str, object]:
    """Return objects that make the canary's file when they are unpickled."""
    code = f"import pathlib; pathlib.Path({str(canary)!r}).touch()"
    return {
        "system": Call(os.system, f"touch {canary}"),
        "mkdir": Call(os.mkdir, str(canary)),
        "eval": Call(eval, f"__import__('pathlib').Path({str(canary)!r}).touch()"),
        "exec": Call(exec, code),
        "subprocess": Call(subprocess.call, ["touch", str(canary)]),
        "getattr": Call(Call(getattr, Call(importlib.import_module, "os"), "mkdir"), str(canary)),
        "nested": [{"a": (Call(map, os.mkdir, [str(canary)]),)}, Call(list, Call(map, os.mkdir, [str(canary)]))],
        "set of a map": Call(set, Call(map, os.mkdir, [str(canary)])),
        "apply": Call(Call(getattr, pathlib.Path, "touch"), Call(pathlib.Path, str(canary))),
        "partial": Call(types.SimpleNamespace, state={"__reduce__": Call(exec, code), "__class__": nn.Module}),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("harm", harms(Path("x")))
def test_calls_are_not_made(tmp_path: Path, harm: str, protocol: int):
    canary = tmp_path / "canary"
    content = pickle.dumps(harms(canary)[harm], protocol)
    pickle.loads(content)
    assert canary.exists(), "no harm in it"
    shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
    with suppress(ValueError):
        assert isinstance(read_checkpoint(archive(tmp_path / "a.pt", content)), Record | list)
    assert not canary.exists()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def test_a_call_is_a_record_and_a_name_is_a_stand_in(tmp_path: Path):
    call = read_checkpoint(archive(tmp_path / "a.pt", b"\x80\x02" + named("os", "system") + b"X\x01\0\0\0x\x85R."))
    assert type(call) is Record
    assert (call.cls, call.args, call.state) == ("os.system", ("x",), None)
    name = read_checkpoint(archive(tmp_path / "b.pt", b"\x80\x04\x8c\x02os\x8c\x0bsystem.exit\x93."))
    assert name.cls == "os.system.exit"
    new = read_checkpoint(archive(tmp_path / "c.pt", named("os", "system") + b")}X\x03\0\0\0cls\x4e\x73\x92."))
    assert (new.args, new.kwargs) == ((), {"cls": None})


STATE = b"N}X\x0c\0\0\0__defaults__N\x73\x86b."  # BUILD with (None, {"__defaults__": None}): setattr


@pytest.mark.parametrize(
    "target",
    [
        named("torch._utils", "_rebuild_tensor_v2"),
        named("torch._utils", "_rebuild_parameter"),
        named("collections", "OrderedDict"),
        named("builtins", "set"),
        named("torch", "FloatStorage"),
        named("torch", "float32"),
        named("torch", "Tensor"),
        named("fpgmlab.unpickling", "Record"),
        named("os", "system"),
        b"}", b"]", b"(t", b"N", b"\x88",
    ],
)  # fmt: skip
def test_attributes_cannot_be_set_on_what_is_not_a_record(tmp_path: Path, target: bytes):
    with pytest.raises(ValueError, match=r"a\.pt' cannot be read as a torch checkpoint"):
        read_checkpoint(archive(tmp_path / "a.pt", target + STATE))
    assert not hasattr(Record, "__defaults__")


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%sX\x03\0\0\0cpu%stQ"


def tensor(
    size: bytes = b"K\x02\x85", stride: bytes = b"K\x01\x85", offset: bytes = b"K\0", key: bytes = b"0",
    numel: bytes = b"K\x02", rest: bytes = b"\x89N", end: bytes = b".",
) -> bytes:  # fmt: skip
    name = named("torch._utils", "_rebuild_tensor_v2")
    return b"\x80\x02" + name + b"(" + STORAGE % (key, numel) + offset + size + stride + rest + b"tR" + end


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tensor(size=b"K\x03\x85"), "needs 3 numbers of a storage that has 2"),
        (tensor(offset=b"K\x01"), "needs 3 numbers of a storage that has 2"),
        (tensor(offset=b"K\x03", size=b"K\0\x85"), "of a storage that has 2"),
        (tensor(stride=b"K\x02\x85"), "needs 3 numbers"),
        (tensor(stride=b"J\xff\xff\xff\xff\x85"), "that no tensor can have"),
        (tensor(size=b"J\xff\xff\xff\xff\x85"), "that no tensor can have"),
        (tensor(size=b"\x8a\x08\0\0\0\0\0\0\0\x7f\x8a\x08\0\0\0\0\0\0\0\x7f\x86", stride=b"K\0K\0\x86"), "no tensor"),
        (tensor(size=b"X\x01\0\0\0a\x85"), "that no tensor can have"),
        (tensor(size=b"K\x02K\x01\x86"), "that no tensor can have"),
        (tensor(size=b"K\x02"), "that no tensor can have"),
        (tensor(size=b"\x88\x85"), "that no tensor can have"),
        (tensor(numel=b"K\x03"), "has 8 bytes, not 3 numbers of torch.float32"),
        (tensor(numel=b"K\x01"), "has 8 bytes, not 1 numbers"),
        (tensor(numel=b"N"), "is missing from its zip archive, or has no size"),
        (tensor(key=b"7"), "archive/data/7' is missing"),
        (tensor(rest=b"\x89N}X\x04\0\0\0conj\x88s"), r"resolve_conj\(\)"),
        (tensor(end=b"(" + STORAGE % (b"0", b"K\x02") + b"K\0\x8a\x06\0\0\0\0\0\x01\x85K\x01\x85tb."), "sets attr"),
        (b"X\x01\0\0\0aQ.", "refers to something outside"),
        (b"Psomething\n.", "refers to something outside"),
        (named("torch._utils", "_rebuild_tensor_v2") + b")R.", "damaged"),
        (named("torch", "Size") + b"K\x05\x85R.", "damaged|Size|tuple"),
        (named("builtins", "bytes") + b"\x8a\x06\0\0\0\0\0\x01\x85R.", "bytes are made of int"),
        (named("builtins", "bytearray") + b"\x8a\x06\0\0\0\0\0\x01\x85R.", "bytes are made of int"),
        (named("_codecs", "encode") + b"X\x01\0\0\0aX\x05\0\0\0rot13\x86R.", "bytes are made of str"),
        (b"\x82\x01.", "extension codes"),
        (b"\x83\x01\0.", "extension codes"),
        (b"\x84\x01\0\0\0.", "extension codes"),
        (b"Nr\xff\xff\xff\x7f.", "numbers an object 2147483647"),
        (b"\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "cannot be read"),
        (b"\x80\x02}", "cannot be read"),
        (b"\x80\x63N.", "cannot be read"),
        (b"", "cannot be read"),
        (b"hello", "cannot be read"),
        (b"0.", "cannot be read"),
        (b"]]s.", "cannot be read"),
        (b"}]Ns.", "cannot be read"),
        (named("builtins", "set") + b"]]a\x85R.", "cannot be read"),
    ],
)  # fmt: skip
def test_pickles_that_lie_are_refused(tmp_path: Path, content: bytes, message: str):
    path = archive(tmp_path / "a.pt", content, {"archive/data/0": struct.pack("<2f", 1, 2)})
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"{str(path)!r} cannot be read as a torch checkpoint: ")


def test_the_hand_made_tensor_is_right_without_the_lie(tmp_path: Path):
    path = archive(tmp_path / "a.pt", tensor(), {"archive/data/0": struct.pack("<2f", 1, 2)})
    assert torch.equal(read_checkpoint(path), torch.tensor([1.0, 2.0]))


def test_an_extension_code_does_not_reach_the_function(tmp_path: Path):
    copyreg.add_extension("posix", "system", 240)
    try:
        content = pickle.dumps(Call(os.system, f"touch {tmp_path / 'canary'}"), 2)
        assert b"\x82\xf0" in content
        pickle.loads(content)  # puts the function itself in the process's cache
        (tmp_path / "canary").unlink()
        with pytest.raises(ValueError, match="extension codes"):
            read_checkpoint(archive(tmp_path / "a.pt", content))
        assert not (tmp_path / "canary").exists()
    finally:
        copyreg.remove_extension("posix", "system", 240)


def test_what_contains_itself_is_read(tmp_path: Path):
    itself: list = []
    itself.append(itself)
    read = saved(itself, tmp_path / "a.pt")
    assert read[0] is read
    space = types.SimpleNamespace()
    space.me = space
    read = saved(space, tmp_path / "b.pt")
    assert read.state["me"] is read
    assert repr(read) == "<Record of types.SimpleNamespace>"


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            asked.append(name)

    path = archive(tmp_path / "a.pt", named("antigravity", "x") + b")R.")
    read_checkpoint(path)  # what the reader itself needs is imported now
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert read_checkpoint(path).cls == "antigravity.x"
    assert asked == []
    assert "antigravity" not in sys.modules


@given(st.binary(max_size=60))
def test_noise_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes):
    path = archive(tmp_path_factory.getbasetemp() / "noise.pt", noise + b".")
    with suppress(ValueError):
        read_checkpoint(path)


# Files


def test_bad_files_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.pt'; expected a checkpoint"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path)
    state = {"w": torch.zeros(100)}
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"old\.pt.*before torch 1\.6.*torch\.load\(path, weights_only=True\)"):
        read_checkpoint(tmp_path / "old.pt")
    torch.save(state, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.pt.*truncated or damaged.*Fetch or write it again"):
            read_checkpoint(cut)
    for content, found in (
        (b"", "it is empty"),
        (b"<!DOCTYPE html>", "it starts with b'<!DOCTYPE ht'; expected the zip"),
    ):
        cut.write_bytes(content)
        with pytest.raises(ValueError, match=found):
            read_checkpoint(cut)
    where = whole.index(bytes(400))
    cut.write_bytes(whole[:where] + b"\1" + whole[where + 1 :])
    with pytest.raises(ValueError, match="damaged .*CRC"):
        read_checkpoint(cut)


def test_other_archives_are_named(tmp_path: Path):
    path = tmp_path / "a.pt"
    archive(path, b"N.", {"archive/code/__torch__.py": b"", "archive/constants.pkl": b""})
    with pytest.raises(ValueError, match=r"TorchScript.*torch\.jit\.load"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"x")
    with pytest.raises(ValueError, match=r"no data\.pkl in the zip archive, but \['a\.npy'\]"):
        read_checkpoint(path)
    archive(path, b"N.", {"archive/byteorder": b"big"})
    with pytest.raises(ValueError, match="byte order b'big'; only 'little'"):
        read_checkpoint(path)
    archive(path, b"N.", {"archive/byteorder": b"little"})
    assert read_checkpoint(path) is None


@pytest.mark.parametrize("name", ["archive/../x", "/x", "other/x", "archive/a\\b", "archive//x"])
def test_members_with_odd_names_are_refused(tmp_path: Path, name: str):
    with pytest.raises(ValueError, match="a name twice or outside 'archive'"):
        read_checkpoint(archive(tmp_path / "a.pt", b"N.", {name: b""}))


def test_compressed_members_are_refused(tmp_path: Path):
    path = archive(tmp_path / "a.pt", b"N.", {"archive/data/0": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"is compressed \(1,000,002 bytes in "):
        read_checkpoint(path)
    # The same bytes under many names.
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"N.")
        file.writestr("archive/data/0", bytes(10**4))
        first = file.infolist()[1]
        for number in range(1, 5):
            other = zipfile.ZipInfo(f"archive/data/{number}")
            other.header_offset, other.file_size = first.header_offset, first.file_size
            other.compress_size, other.CRC = first.compress_size, first.CRC
            file.filelist.append(other)
    with pytest.raises(ValueError, match=r"is compressed \(50,002 bytes in "):
        read_checkpoint(path)
