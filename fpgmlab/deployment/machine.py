"""What a measurement of time belongs to: the processor, the runtime and its version, the threads."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# What changes how a runtime computes; the order is that of the text.
EXTENSIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "sve",
)
PACKAGES = {"torch": "torch", "torch-compiled": "torch", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True)
class Machine:
    """A processor with a runtime.

    Attributes
    ----------
    processor : str
        Its name as the system has it.
    extensions : tuple of str
        Those of its instructions that change how runtimes compute.
    cores : int
        That this process may use.
    runtime, version : str
        And its version, of the package that brings it.
    threads : int or None
        Within one operation; None: the runtime chose.
    """

    processor: str
    extensions: tuple[str, ...]
    cores: int
    runtime: str
    version: str
    threads: int | None

    @classmethod
    def here(cls, runtime: str, threads: int | None = None) -> Machine:
        """Return this machine with a runtime."""
        name, extensions = processor()
        try:
            number = version(PACKAGES.get(runtime, runtime))
        except PackageNotFoundError:
            number = "unknown"
        return cls(name, extensions, cores(), runtime, number, threads)

    def unlike(self, other: Machine) -> str | None:
        """Return in words in what another one differs, or None; cores count only where the runtime chose threads."""
        fields = [name for name in asdict(self) if name != "cores" or self.threads is None]
        differing = [name for name in fields if getattr(self, name) != getattr(other, name)]
        if not differing:
            return None
        return ", ".join(
            f"{name} {_text(getattr(self, name))} there, {_text(getattr(other, name))} here" for name in differing
        )


def _text(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else repr(value)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
