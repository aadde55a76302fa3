"""What a measurement of time belongs to: the processor, the runtime and its version, the threads."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

from fpgmlab.common.processor import processor

PACKAGES = {"torch.compile": "torch"}  # of runtimes that are named otherwise


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
