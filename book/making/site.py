"""Sphinx over the staged pages: every warning is an error, and all of them are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from book.making.staging import BOOK, ROOT, stage

SITE = "site"


def build(folder: Path) -> int:
    """Write ``folder/site``; return 0, or what Sphinx returns when there were warnings.

    All pages are read each time: of one that is read again only when it changes, warnings would be told once.
    """
    source = stage(folder)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-E", "-q", "-W", "--keep-going", "-j", "auto"]
    command += ["-c", str(BOOK), "-d", str(folder / "doctrees"), str(source), str(folder / SITE)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode
