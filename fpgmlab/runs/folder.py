"""The folder of a run: what each step was made from, whether it is finished, and what it left."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fpgmlab.common.files import as_path, remove_unfinished, write_text

STEPS = "steps"  # a record of each step, and how far one has come that is not finished
FORMAT = "fpgmlab-run/1"


class Refused(ValueError):
    """A folder that cannot be used as it is; the message says what can be done."""


class RunFolder:
    """Where a run is kept.

    Parameters
    ----------
    path : path-like
        Need not be there yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def check_free(self) -> None:
        """Raise `Refused` for a file, and for a folder that holds something else than a run."""
        if self.path.exists() and not self.path.is_dir():
            raise Refused(f"{str(self.path)!r} is a file; run.folder must be a folder, or not be there yet")
        if self.path.is_dir() and not (self.path / STEPS).is_dir():
            others = [each.name for each in self.path.iterdir() if each.name != ".lock"]
            if others:
                raise Refused(
                    f"{str(self.path)!r} holds no run, but other files ({sorted(others)[0]!r}). Take another folder: "
                    "--set run.folder=..."
                )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this process alone; `Refused` when another one works there."""
        (self.path / STEPS).mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a+", encoding="utf-8") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Refused(
                    f"another process works in {str(self.path)!r}. Wait for it, stop it, or take another folder: "
                    "--set run.folder=..."
                ) from error
            except (ImportError, OSError):  # no such locks on this system
                pass
            remove_unfinished(self.path)
            yield

    def record(self, step: str) -> dict[str, Any] | None:
        """Return what is noted of a step; None when it was not begun."""
        path = self._record(step)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']!r}, this version reads {FORMAT!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{str(path)!r} is damaged ({error}). Delete it to do {step!r} again.") from error
        return dict(found)

    def finished(self, step: str) -> dict[str, Any] | None:
        """Return the record of a step that is finished; `Refused` when what it left is not there as it was."""
        found = self.record(step)
        if found is None or found["state"] != "finished":
            return None
        for name, digest in found["files"].items():
            path = self.path / name
            if not path.is_file() or sha256(path) != digest:
                raise Refused(
                    f"{str(path)!r} is not there any more as {step!r} left it. Put it back, or delete "
                    f"{str(self._record(step))!r} to do {step!r} again."
                )
        return found

    def begin(self, step: str, config: Mapping[str, Any]) -> None:
        """Note that a step has begun; what another configuration has left of it is forgotten."""
        record = self.record(step)
        if record is None or record["state"] == "finished" or differences(record["config"], plain(config)):
            shutil.rmtree(self.progress(step), ignore_errors=True)
        self._write(step, {"state": "begun", "config": config, "since": now()})

    def finish(
        self, step: str, config: Mapping[str, Any], files: Sequence[str], facts: Mapping[str, Any], seconds: float
    ) -> None:
        """Note that a step is finished, and forget how far it had come."""
        digests = {name: sha256(self.path / name) for name in files}
        record = {"state": "finished", "config": config, "files": digests, "facts": facts, "seconds": seconds}
        self._write(step, {**record, "at": now()})
        shutil.rmtree(self.progress(step), ignore_errors=True)

    def forget(self, step: str) -> None:
        """Forget a step that has failed, unless something of it is kept."""
        kept = self.progress(step)
        if not kept.exists() or not any(kept.rglob("*")):
            self._record(step).unlink(missing_ok=True)

    def progress(self, step: str) -> Path:
        """Return where a step keeps how far it has come."""
        return self.path / STEPS / step

    def write_json(self, name: str, content: object) -> None:
        """Write a file of the run, whole or not at all."""
        write_text(self.path / name, json.dumps(content, indent=1, default=_said) + "\n")

    def _record(self, step: str) -> Path:
        return self.path / STEPS / f"{step}.json"

    def _write(self, step: str, record: Mapping[str, Any]) -> None:
        self.write_json(f"{STEPS}/{step}.json", {"format": FORMAT, "step": step, **record})


def finite(content: Any) -> Any:
    """Return tables and lists with None for what is no number: JSON has no word for it."""
    if isinstance(content, Mapping):
        return {key: finite(each) for key, each in content.items()}
    if isinstance(content, list | tuple):
        return [finite(each) for each in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _said(value: Any) -> Any:
    """Return what JSON does not know as something that it knows: numbers of NumPy, texts."""
    return value.item() if hasattr(value, "item") else str(value)


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as JSON gives it back."""
    return dict(json.loads(json.dumps(config)))


def differences(stored: Mapping[str, Any], config: Mapping[str, Any], place: str = "") -> list[str]:
    """Return in words in what a configuration differs from the one that a step was made from."""
    found = []
    for key in dict.fromkeys((*stored, *config)):
        where = f"{place}.{key}" if place else key
        one, other = stored.get(key), config.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, where)
        elif one != other:
            was, now_is = ("not given" if value is None else repr(value) for value in (one, other))
            found.append(f"{where} was {was}, is {now_is}")
    return found


def sha256(path: Path) -> str:
    """Return a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    """Return the time, with its zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S%z")
