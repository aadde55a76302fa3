"""Files that are no checkpoint, or a damaged one, are called by their name."""

from __future__ import annotations

import gzip
import pickle
import struct
import zipfile
from pathlib import Path

import onnx
import pytest
import safetensors.torch
import torch

from fpgmlab.checkpoints.unpickling import read_checkpoint
from tests.checkpoints.made import archive


def test_bad_files_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.pt'; expected a checkpoint"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match="is a folder; expected a checkpoint"):
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
        with pytest.raises(ValueError, match=r"cut\.pt.*truncated.*of [\d,]+ bytes\. Fetch or write it again"):
            read_checkpoint(cut)
    with pytest.raises(FileNotFoundError, match=r"is a folder with \[.*cut\.pt'.*whole\.pt'\]"):
        read_checkpoint(tmp_path)
    where = whole.index(bytes(400))
    cut.write_bytes(whole[:where] + b"\1" + whole[where + 1 :])
    with pytest.raises(ValueError, match="damaged .*CRC"):
        read_checkpoint(cut)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", r"it is empty; .* Was it fetched completely\?"),
        (bytes(range(200, 250)), r"it starts with b'.*'; .* Was it fetched completely\?"),
        (b"PK\x03", r"Was it fetched completely\?"),
        (b"<!DOCTYPE html>\n<html>", "it starts with b'<!DOCTYPE ht'; .* looks like a web page.*fetch the file itself"),
        (b"\n<HTML lang=", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "a pointer of Git LFS.*git lfs pull"),
        (safetensors.torch.save({"w": torch.zeros(2)}), r"a safetensors file: fpgmlab\.load"),
        (onnx.ModelProto(ir_version=10, producer_name="pytorch").SerializeToString(), "an ONNX model"),
        (struct.pack("<iiiq", 0, 2, 5, 32013312) + bytes(40), r"Darknet's \.weights"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
        (gzip.compress(b"x", mtime=0), "a packed file: unpack it first"),
        (pickle.dumps({"w": 1}), "a bare pickle"),
        (b"nc: 80\ndepth_multiple: 0.33\n", "a text file"),
    ],
)  # fmt: skip
def test_other_files_are_called_by_their_name(tmp_path: Path, content: bytes, found: str):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.pt' cannot be read as a torch checkpoint: .*{found}"):
        read_checkpoint(tmp_path / "a.pt")


def test_other_archives_are_named(tmp_path: Path):
    path = tmp_path / "a.pt"
    archive(path, b"N.", {"archive/code/__torch__.py": b"", "archive/constants.pkl": b""})
    with pytest.raises(ValueError, match=r"TorchScript.*torch\.jit\.load"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"x")
    with pytest.raises(ValueError, match=r"no data\.pkl in the zip archive, but \['a\.npy'\]"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/best.pt", b"x")
    with pytest.raises(ValueError, match=r"no data\.pkl.* Unpack 'weights/best\.pt' first"):
        read_checkpoint(path)
    archive(path, b"N.", {"archive/byteorder": b"big"})
    with pytest.raises(ValueError, match="byte order b'big'; only 'little'"):
        read_checkpoint(path)
    archive(path, b"N.", {"archive/byteorder": b"little"})
    assert read_checkpoint(path) is None


def test_members_outside_of_the_folder_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="a name twice or outside 'archive'"):
        read_checkpoint(archive(tmp_path / "a.pt", b"N.", {"other/x": b""}))
