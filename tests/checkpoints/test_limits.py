"""The limits of reading, each shown with a small honest file and a limit that is smaller still.

No file here, and none that is built here, would harm another reader: what must never be followed in a file is given to
the check itself, as plain values.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from fpgmlab.checkpoints.unpickling import read_checkpoint, reader, tensors_of
from fpgmlab.checkpoints.unpickling.checks import check_names, check_sizes, check_storage, check_view
from fpgmlab.checkpoints.unpickling.limits import USUAL, Limits
from fpgmlab.checkpoints.unpickling.reader import read_within
from fpgmlab.checkpoints.unpickling.trees import tensors_within
from tests.checkpoints.made import archive


def deep(depth: int) -> bytes:
    """Return a dict whose key is an empty tuple in a tuple in a tuple ..."""
    return b"\x80\x02})" + b"\x85" * (depth - 1) + b"K\x01s."


def wide(depth: int) -> bytes:
    """Return a dict whose key is a tuple of pairs, each of the one before it twice."""
    pairs = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth))
    return b"\x80\x02}(X\x01\0\0\0aq\0" + pairs + b"tK\x01s."


def test_keys_with_too_many_tuples_are_refused(tmp_path: Path):
    few = Limits(tuples=12)
    for make, allowed, too_many in ((deep, 13, 14), (wide, 3, 4)):
        path = archive(tmp_path / "a.pt", make(allowed))
        assert list(read_within(path, few).values()) == [1]
        path = archive(tmp_path / "b.pt", make(too_many))
        assert list(read_checkpoint(path).values()) == [1]
        assert pickle.loads(make(too_many)) == read_checkpoint(path)
        with pytest.raises(ValueError, match="more than 12 tuples within a tuple; no checkpoint needs that"):
            read_within(path, few)
    shared: object = "x"
    for _ in range(3):
        shared = [shared] * 10  # nothing hashes a list
    assert len(read_within(archive(tmp_path / "d.pt", pickle.dumps(shared)), few)) == 10


def test_tuples_are_not_made_by_a_call_that_the_count_does_not_see(tmp_path: Path):
    pair = b"]((X\x01\0\0\0at" + b"eq\0"  # a list with a tuple in it
    with pytest.raises(ValueError, match="a tuple is made of something other than numbers and text"):
        read_checkpoint(archive(tmp_path / "c.pt", b"\x80\x02cbuiltins\ntuple\n" + pair + b"\x85R."))


def test_numbers_that_are_too_large_are_refused(tmp_path: Path):
    for tensor, message in (
        (torch.zeros(200), "is missing from its zip archive, or has no size"),
        (torch.zeros(50).expand(3, 50), "an offset, size or stride that no tensor can have"),  # 150 of its 50
    ):
        torch.save(tensor, tmp_path / "a.pt")
        assert torch.equal(read_checkpoint(tmp_path / "a.pt"), tensor)
        with pytest.raises(ValueError, match=message):
            read_within(tmp_path / "a.pt", Limits(numbers=100))


def test_a_file_whose_members_are_larger_than_it_is_refused(tmp_path: Path):
    torch.save(torch.zeros(1000), tmp_path / "a.pt")
    read_checkpoint(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"is compressed \([\d,]+ bytes in [\d,]+\); torch\.save does not do that"):
        read_within(tmp_path / "a.pt", Limits(unpacked=0.5))
    path = archive(tmp_path / "b.pt", b"N.", {"archive/data/0": bytes(10**4)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"is compressed \(10,002 bytes in "):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=r"is compressed \(10,002 bytes in "):
        read_within(path, Limits(unpacked=1e6))  # whatever they claim
    check_sizes(100, 100, False, USUAL)
    with pytest.raises(ValueError, match=r"is compressed \(101 bytes in 100\)"):
        check_sizes(101, 100, False, USUAL)


def test_trees_of_too_many_modules_or_levels_are_refused(tmp_path: Path):
    norm = nn.BatchNorm1d(1)
    twice = nn.Sequential(nn.Sequential(norm, norm), nn.Sequential(norm, norm))  # seven, on three levels
    torch.save(twice, tmp_path / "a.pt")
    tree = read_checkpoint(tmp_path / "a.pt")
    assert list(tensors_of(tree)) == list(twice.state_dict())
    assert tensors_within(tree, Limits(levels=2, modules=7)).keys() == twice.state_dict().keys()
    for limits in (Limits(levels=1), Limits(modules=6)):
        with pytest.raises(ValueError, match=r"'.*\.' contains itself, or very many levels"):
            tensors_within(tree, limits)


# The checks themselves, on plain values


@pytest.mark.parametrize("name", ["a/../x", "/x", "b/x", "a/b\\c", "a//x", "a/.", "..", ""])
def test_members_with_odd_names_are_refused(name: str):
    check_names(["a/data.pkl", "a/data/0"], "a")
    with pytest.raises(ValueError, match="a name twice or outside 'a'"):
        check_names(["a/data.pkl", name], "a")


def test_a_name_that_is_there_twice_is_refused():
    with pytest.raises(ValueError, match="a name twice or outside 'a': twice"):
        check_names(["a/data.pkl", "a/data.pkl"], "a")


@pytest.mark.parametrize("numel", [0, 1, 3, 2**62])
def test_a_storage_has_just_the_bytes_of_its_numbers(numel: int):
    check_storage("a", 8, 2, torch.float32)
    with pytest.raises(ValueError, match=f"storage 'a' has 8 bytes, not {numel} numbers of torch.float32"):
        check_storage("a", 8, numel, torch.float32)


@pytest.mark.parametrize(
    ("offset", "size", "stride", "message"),
    [
        (0, (3,), (1,), "needs 3 numbers of a storage that has 2"),
        (1, (2,), (1,), "needs 3 numbers of a storage that has 2"),
        (3, (0,), (1,), "of a storage that has 2"),
        (0, (2,), (2,), "needs 3 numbers"),
        (0, (2,), (-1,), "that no tensor can have"),
        (0, (-1,), (1,), "that no tensor can have"),
        (-1, (1,), (1,), "that no tensor can have"),
        (2**63, (1,), (1,), "that no tensor can have"),
        (0, (2**62, 2**62), (0, 0), "that no tensor can have"),
        (0, (2**40,), (1,), "needs 1099511627776 numbers"),
        (0, ("a",), (1,), "that no tensor can have"),
        (0, (2, 1), (1,), "that no tensor can have"),
        (0, 2, (1,), "that no tensor can have"),
        (0, (True,), (1,), "that no tensor can have"),
        (None, (2,), (1,), "that no tensor can have"),
    ],
)  # fmt: skip
def test_a_view_lies_within_its_storage(offset: object, size: object, stride: object, message: str):
    with pytest.raises(ValueError, match=message):
        check_view(offset, size, stride, 2, USUAL)


@pytest.mark.parametrize(
    "layout", [(0, (2,), (1,)), (1, (), ()), (0, (4, 2), (0, 1)), (2, (0,), (1,)), (0, (1,), (9,))]
)
def test_a_view_that_fits_is_allowed(layout: tuple):
    check_view(*layout, 2, USUAL)
    torch.zeros(2).as_strided(layout[1], layout[2], layout[0])  # and torch agrees


def test_every_tensor_of_a_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = torch.arange(6.0).view(2, 3)
    torch.save([whole, whole[1, 1:], nn.Parameter(torch.zeros(4).half())], tmp_path / "a.pt")
    asked = []
    monkeypatch.setattr(reader, "check_view", lambda *layout: asked.append(layout))
    read_checkpoint(tmp_path / "a.pt")
    assert asked == [(0, (2, 3), (3, 1), 6, USUAL), (4, (2,), (1,), 6, USUAL), (0, (4,), (1,), 4, USUAL)]

    def refuse(*_: object) -> None:
        raise ValueError("no such tensor")

    monkeypatch.setattr(reader, "check_view", refuse)
    with pytest.raises(ValueError, match=r"a\.pt' cannot be read as a torch checkpoint: no such tensor"):
        read_checkpoint(tmp_path / "a.pt")


def test_every_member_of_a_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save(torch.zeros(2), tmp_path / "a.pt")
    asked = []
    monkeypatch.setattr(reader, "check_names", lambda names, folder: asked.append((names, folder)))
    read_checkpoint(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as file:
        assert asked == [(file.namelist(), "a")]
