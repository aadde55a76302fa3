"""The processor: its name, what it computes with, and the block of channels that its kernels take at once."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

# What changes how a runtime computes; the order is that of the text.
EXTENSIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "sve",
)  # fmt: skip


@cache
def processor() -> tuple[str, tuple[str, ...]]:
    """Return the processor's name and those of its extensions that matter."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []  # no Linux: the name alone
    for key, _, value in lines:
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in {"flags", "Features"}:
            flags = set(value.split())
    return name, tuple(extension for extension in EXTENSIONS if extension in flags)


def channel_block() -> int:
    """Return how many channels runtimes compute at once here: 8 where vectors have 256 bits, elsewhere 16.

    ONNX Runtime, oneDNN and OpenVINO lay out float channels in blocks of two vectors of AVX (8) or one of AVX-512 (16);
    ncnn and ONNX Runtime on Arm in blocks of 4 and 16. Unknown processors get 16, which is a multiple of all of these.
    """
    _, extensions = processor()
    return 8 if "avx2" in extensions and "avx512f" not in extensions else 16
