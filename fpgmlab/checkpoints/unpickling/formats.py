"""What a file that is no checkpoint looks like, by how it begins."""

from __future__ import annotations

import re

_FORMATS = (
    (
        rb"\s*<(!doctype|html)",
        "a web page, which servers send in place of a file that has moved or needs a login: fetch the file itself",
    ),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file that it stands for: run 'git lfs pull'"),
    (rb".{6}\0\0\{\"", "a safetensors file: fpgmlab.load reads what fpgmlab.save wrote"),
    (rb"\x08[\x01-\x20][\x12\x1a\x3a\x42]", "an ONNX model: give the checkpoint that it was exported from"),
    (rb"\0{4}[\x01-\x05]\0{3}", "Darknet's .weights (YOLOv3, YOLOv4), which this package does not read"),
    (rb"\x89HDF", "an HDF5 file (Keras), which this package does not read"),
    (rb".{4}TFL3", "a TensorFlow Lite model: give the checkpoint that it was exported from"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|.{257}ustar", "a packed file: unpack it first"),
    (rb"\x80[\x02-\x05]", "a bare pickle: write it with torch.save where you trust it"),
    (rb"[\t\n\r\x20-\x7e]+$", "a text file"),
)
LONGEST = 262  # bytes that are looked at


def looks_like(head: bytes) -> str:
    """Return in words what a file is by its first bytes, and what to do about it; empty when they do not tell."""
    flags = re.DOTALL | re.IGNORECASE
    return next((words for sign, words in _FORMATS if re.match(sign, head[:LONGEST], flags)), "")
