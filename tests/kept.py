"""The notebooks as the project keeps them: outputs and files of their own are the business of who ran them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def notebooks() -> dict[str, bytes]:
    """Return the content of each notebook, by its name without ending, as git's index holds it.

    Without git, or in the archive of a release, it is what the files hold.
    """
    listed = _git("ls-files", "--", "notebooks/*.ipynb")
    if listed:
        return {Path(name).stem: _git("show", f":./{name}") for name in listed.decode().splitlines()}
    return {path.stem: path.read_bytes() for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def _git(*arguments: str) -> bytes:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return b""
