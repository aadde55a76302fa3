"""The processor: its name, what it computes with, and the block of channels that its kernels take at once."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from fpgmlab.common.warned import warn

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


def has_kernels(device: torch.device, dtype: torch.dtype | None) -> bool:
    """Tell whether torch has kernels of its own for a dtype there, half precision among them, as far as it tells."""
    name = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype) if dtype is not None else None
    supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported", None)  # of oneDNN, which not all builds have
    return name is None or device.type != "cpu" or supported is None or bool(supported())


def warn_where_slow(device: torch.device, dtype: torch.dtype | None, remedy: str) -> None:
    """Warn where torch has no kernels of its own for half precision: it takes several times as long as float32 there.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype, optional
        What layers compute in.
    remedy : str
        The argument that makes it float32.
    """
    if has_kernels(device, dtype):
        return
    warn(
        f"torch has no quick kernels for {dtype} on this processor ({processor()[0]}): convolutions take several times "
        f"as long as in float32. {remedy} is quicker here.",
    )


def warn_where_int8_overflows(remedy: str) -> None:
    """Warn where products of eight bits are added up in sixteen, which can overflow: AVX2 without VNNI.

    Parameters
    ----------
    remedy : str
        The argument that makes weights small enough.
    """
    name, extensions = processor()
    if "avx2" in extensions and not {"avx512_vnni", "avx_vnni"} & set(extensions):
        warn(
            f"{name} has no VNNI: sums of INT8 products can overflow on it, so that what is judged here can be worse "
            f"than elsewhere. For such processors pass {remedy}.",
        )
