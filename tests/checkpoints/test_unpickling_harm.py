"""Checkpoints that mean harm: nothing that a file names is run, and what it lies about is refused."""

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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fpgmlab.checkpoints.unpickling import Record, read_checkpoint
from fpgmlab.checkpoints.unpickling.opcodes import check_opcodes
from tests.checkpoints.test_unpickling import archive, saved


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
        named("fpgmlab.checkpoints.unpickling", "Record"),
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


def deep(depth: int) -> bytes:
    """Return a dict whose key is a tuple in a tuple in a tuple ..."""
    return b"\x80\x02})" + b"\x85" * (depth - 1) + b"K\x01s."


def wide(depth: int) -> bytes:
    """Return a dict whose key is a pair of the same pair twice, of the same pair twice, ...: 2 ** depth in all."""
    pairs = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth))
    return b"\x80\x02}(X\x01\0\0\0aq\0" + pairs + b"tK\x01s."


def test_keys_that_hash_for_ever_or_too_deep_are_refused(tmp_path: Path):
    for make, allowed, too_much in ((deep, 9_999, 200_000), (wide, 12, 60)):
        held = read_checkpoint(archive(tmp_path / "a.pt", make(allowed)))
        assert list(held.values()) == [1]
        with pytest.raises(ValueError, match="more than 10,000 tuples within a tuple"):
            read_checkpoint(archive(tmp_path / "b.pt", make(too_much)))
    pair = b"]((X\x01\0\0\0at" + b"eq\0"  # a list with a tuple in it, to be made a tuple by a call
    with pytest.raises(ValueError, match="a tuple is made of something other than numbers and text"):
        read_checkpoint(archive(tmp_path / "c.pt", b"\x80\x02" + named("builtins", "tuple") + pair + b"\x85R."))
    shared: object = "x"
    for _ in range(60):
        shared = [shared] * 10  # nothing hashes a list
    assert len(read_checkpoint(archive(tmp_path / "d.pt", pickle.dumps(shared)))) == 10


plain = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=2) | st.tuples(st.integers()), inner, max_size=3)
    | st.frozensets(st.integers(), max_size=3),
)  # fmt: skip


@given(plain, st.integers(0, 5))
def test_the_stack_of_any_pickle_is_followed(content: object, protocol: int):
    check_opcodes(pickle.dumps([content, content], protocol))
