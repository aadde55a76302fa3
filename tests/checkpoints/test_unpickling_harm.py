"""Checkpoints that ask for calls, or lie: nothing that a file names is run, and what it lies about is refused.

Every file here is harmless to any other reader: what it calls only notes that it was called, an attribute is set to
what it is, and what it lies about, others refuse as well or read as something small.
"""

from __future__ import annotations

import builtins
import copyreg
import importlib
import pickle
import struct
import sys
import types
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpgmlab.checkpoints.unpickling import Record, read_checkpoint
from fpgmlab.checkpoints.unpickling.opcodes import check_opcodes
from tests.checkpoints.made import archive, saved
from tests.noted import CALLED, Call, Noted, noted


def calls() -> dict[str, object]:
    """Return objects that call `noted` when they are unpickled."""
    imported = Call(getattr, Call(importlib.import_module, "tests.noted"), "noted")
    return {
        "function": Call(noted, "x"),
        "class": Call(Noted, "x"),
        "state": Call(Noted, state={"a": 1}),
        "argument": Call(types.SimpleNamespace, Call(noted)),
        "getattr": Call(imported, "x"),
        "method": Call(Call(getattr, Noted, "__init__"), Call(Noted), "x"),
        "nested": [{"a": (Call(map, noted, ["x"]),)}, Call(list, Call(map, noted, ["x"]))],
        "set of a map": Call(set, Call(map, noted, ["x"])),
        "in a state": Call(types.SimpleNamespace, state={"__reduce__": Call(noted), "__class__": Noted}),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", calls())
def test_calls_are_not_made(tmp_path: Path, name: str, protocol: int):
    content = pickle.dumps(calls()[name], protocol)
    CALLED.clear()
    with suppress(TypeError):  # SimpleNamespace takes keywords only
        pickle.loads(content)
    assert CALLED, "another reader calls it"
    CALLED.clear()
    with suppress(ValueError):
        assert isinstance(read_checkpoint(archive(tmp_path / "a.pt", content)), Record | list)
    assert not CALLED


@pytest.mark.parametrize(("name", "argument", "result"), [("len", "abc", 3), ("eval", "1 + 1", 2), ("exec", "", None)])
def test_builtins_are_not_called(tmp_path: Path, name: str, argument: str, result: object):
    content = pickle.dumps(Call(getattr(builtins, name), argument), 2)
    assert pickle.loads(content) == result
    read = read_checkpoint(archive(tmp_path / "a.pt", content))
    assert (read.cls, read.args) == (f"builtins.{name}", (argument,))


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(content: str) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def test_a_call_is_a_record_and_a_name_is_a_stand_in(tmp_path: Path):
    call = read_checkpoint(
        archive(tmp_path / "a.pt", b"\x80\x02" + named("tests.noted", "noted") + text("x") + b"\x85R.")
    )
    assert type(call) is Record
    assert (call.cls, call.args, call.state) == ("tests.noted.noted", ("x",), None)
    name = read_checkpoint(archive(tmp_path / "b.pt", b"\x80\x04\x8c\x03any\x8c\x09name.name\x93."))
    assert name.cls == "any.name.name"
    new = read_checkpoint(
        archive(tmp_path / "c.pt", named("tests.noted", "Noted") + b")}" + text("cls") + b"N\x73\x92.")
    )
    assert (new.args, new.kwargs) == ((), {"cls": None})


def building(module: str) -> bytes:
    """Return a BUILD that sets an attribute: ``__module__``, to what it is where there is one."""
    return b"N}" + text("__module__") + text(module) + b"s\x86b."


@pytest.mark.parametrize(
    ("target", "module"),
    [
        *(
            (named(module, name), module)
            for module, name in (
                ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"),
                ("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "len"), ("torch", "FloatStorage"),
                ("torch", "float32"), ("torch", "Tensor"), ("fpgmlab.checkpoints.unpickling.inert", "Record"),
            )
        ),
        *((data, "none") for data in (b"}", b"]", b"(t", b"N", b"\x88")),
    ],
)  # fmt: skip
def test_attributes_cannot_be_set_on_what_is_not_a_record(tmp_path: Path, target: bytes, module: str):
    with pytest.raises(ValueError, match=r"a\.pt' cannot be read as a torch checkpoint"):
        read_checkpoint(archive(tmp_path / "a.pt", target + building(module)))


STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0%sX\x03\0\0\0cpu%stQ"


def tensor(
    size: bytes = b"K\x02\x85", key: bytes = b"0", numel: bytes = b"K\x02", end: bytes = b".",
) -> bytes:  # fmt: skip
    name = named("torch._utils", "_rebuild_tensor_v2")
    return b"\x80\x02" + name + b"(" + STORAGE % (key, numel) + b"K\0" + size + b"K\x01\x85" + b"\x89NtR" + end


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tensor(size=b"X\x01\0\0\0a\x85"), "that no tensor can have"),
        (tensor(size=b"K\x02K\x01\x86"), "that no tensor can have"),
        (tensor(size=b"K\x02"), "that no tensor can have"),
        (tensor(size=b"\x88\x85"), "that no tensor can have"),
        (tensor(size=b"K\x01\x85", numel=b"K\x01"), "has 8 bytes, not 1 numbers of torch.float32"),
        (tensor(numel=b"N"), "is missing from its zip archive, or has no size"),
        (tensor(key=b"7"), "archive/data/7' is missing"),
        (tensor(end=b"(" + STORAGE % (b"0", b"K\x02") + b"K\0K\x02\x85K\x01\x85tb."), "sets attributes"),
        (text("a") + b"Q.", "refers to something outside"),
        (b"Psomething\n.", "refers to something outside"),
        (named("torch._utils", "_rebuild_tensor_v2") + b")R.", "damaged"),
        (named("torch", "Size") + b"K\x05\x85R.", "damaged|Size|tuple"),
        (named("builtins", "bytes") + b"K\x03\x85R.", "bytes are made of int"),
        (named("builtins", "bytearray") + b"K\x03\x85R.", "bytes are made of int"),
        (named("_codecs", "encode") + text("a") + text("rot13") + b"\x86R.", "bytes are made of str"),
        (b"\x82\x01.", "extension codes"),
        (b"\x83\x01\0.", "extension codes"),
        (b"\x84\x01\0\0\0.", "extension codes"),
        (b"Nr\x05\0\0\0.", "numbers an object 5, though there are not as many"),
        (b"\x8e" + struct.pack("<Q", 100) + b"x.", "cannot be read"),
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


def test_a_conjugate_view_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"a conjugate or negative view: call resolve_conj\(\)"):
        saved({"w": torch.complex(torch.ones(2), torch.ones(2)).conj()}, tmp_path / "a.pt")


def test_the_hand_made_tensor_is_right_without_the_lie(tmp_path: Path):
    path = archive(tmp_path / "a.pt", tensor(), {"archive/data/0": struct.pack("<2f", 1, 2)})
    assert torch.equal(read_checkpoint(path), torch.tensor([1.0, 2.0]))


def test_an_extension_code_does_not_reach_the_function(tmp_path: Path):
    copyreg.add_extension("tests.noted", "noted", 240)
    try:
        content = pickle.dumps(Call(noted, "x"), 2)
        assert b"\x82\xf0" in content
        pickle.loads(content)  # puts the function itself in the process's cache
        CALLED.clear()
        with pytest.raises(ValueError, match="extension codes"):
            read_checkpoint(archive(tmp_path / "a.pt", content))
        assert not CALLED
    finally:
        copyreg.remove_extension("tests.noted", "noted", 240)


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

    path = archive(tmp_path / "a.pt", named("no_such_module", "x") + b")R.")
    read_checkpoint(path)  # what the reader itself needs is imported now
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert read_checkpoint(path).cls == "no_such_module.x"
    assert asked == []


@given(st.binary(max_size=60))
def test_noise_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes):
    path = archive(tmp_path_factory.getbasetemp() / "noise.pt", noise + b".")
    with suppress(ValueError):
        read_checkpoint(path)


plain = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.text(max_size=2) | st.tuples(st.integers()), inner, max_size=3)
    | st.frozensets(st.integers(), max_size=3),
)  # fmt: skip


@given(plain, st.integers(0, 5))
def test_the_stack_of_any_pickle_is_followed(content: object, protocol: int):
    check_opcodes(pickle.dumps([content, content], protocol))
