"""Checkpoints are read as data: the tensors are those of torch, and nothing that a file names is run."""

from __future__ import annotations

import pathlib
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fpgmlab.checkpoints.unpickling import Record, read_checkpoint, tensors_of
from tests.checkpoints.made import saved

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip


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
    content = [pathlib.PurePosixPath("a/b"), np.float64(0.5), np.arange(3), mapping, space, len]
    read = saved(content, tmp_path / "a.pt")
    path, scalar, array, mapping, space, function = read
    assert (path.cls.split(".")[-1], path.args) == ("PurePosixPath", ("a", "b"))
    assert all(type(record) is Record for record in (path, scalar, array, mapping, space))
    assert (mapping.cls, mapping.mapping) == ("collections.defaultdict", {"a": [1]})
    assert (space.cls, space.args, space.state) == ("types.SimpleNamespace", (), {"x": 1})
    assert function.cls == "builtins.len"
    assert function is not len
    with pytest.raises(AttributeError):
        path.cls = "other"


class List(list):
    pass


def test_a_list_of_some_class_keeps_its_items(tmp_path: Path):
    read = saved(List([1, 2]), tmp_path / "a.pt")
    assert (read.cls, read.items) == ("tests.checkpoints.test_unpickling.List", [1, 2])


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
    with pytest.raises(ValueError, match=r"it is a dict with keys \['model', 'epoch'\]; expected a torch module"):
        tensors_of(read)


def test_what_is_no_module_is_named():
    with pytest.raises(ValueError, match="it is an object of a.B; expected a torch module"):
        tensors_of(Record("a.B", state={"_modules": {}}))
    with pytest.raises(ValueError, match="it is of type list"):
        tensors_of([1])
    empty = {"_parameters": {}, "_buffers": {}}
    loop = Record("a.B", state=empty | {"_modules": {}})
    loop.state["_modules"]["again"] = loop
    with pytest.raises(ValueError, match="contains itself"):
        tensors_of(loop)
    odd = Record("a.B", state=empty | {"_modules": {}, "_parameters": {"w": Record("x.Quantised")}})
    with pytest.raises(ValueError, match="'c.w' is an object of x.Quantised; expected a tensor"):
        tensors_of(Record("a.B", state=empty | {"_modules": {"c": odd}}))
