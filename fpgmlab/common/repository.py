"""The state of the repository: what code a result was made with."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path


def git_state(folder: str | os.PathLike[str] = ".", results: str | os.PathLike[str] = ".") -> dict[str, object] | None:
    """Return the revision of the repository around a folder, and whether tracked files differ from it.

    Parameters
    ----------
    folder : path-like
    results : path-like
        PDF, PNG, CSV and JSON files in this folder do not count: the first run's would make the second run's record
        another one.

    Returns
    -------
    dict or None
        ``revision`` and ``dirty``; None outside of a repository, without git or before the first commit.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    revision = _git(folder, "rev-parse", "--verify", "HEAD")
    if not top or not revision:
        return None
    root, results = Path(top.strip()).resolve(), Path(results).resolve()
    without = []
    if results.is_relative_to(root):
        where = results.relative_to(root).as_posix()
        prefix = "" if where == "." else f"{_escaped(where)}/"
        without = [f":(top,exclude,glob){prefix}*.{kind}" for kind in ("pdf", "png", "csv", "json")]
    status = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *without)
    return {"revision": revision.strip(), "dirty": None if status is None else bool(status)}


def _escaped(name: str) -> str:
    return re.sub(r"([\[\]*?\\])", r"\\\1", name)


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    """Return what git says, None when it fails or is not there."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # look only: another git may be at work
    command = ["git", "-C", os.fspath(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=20, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")
