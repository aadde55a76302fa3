"""How pip is set up on this machine, for a build to have the same: ``python3 pip_settings.py FOLDER``.

FOLDER, which becomes the build's ``/etc/xdg/pip``, gets a ``pip.conf`` of what ``pip config list`` tells (files and
variables), and copies of the files named there (certificates, constraints). The folders named there (wheels, an index)
are printed, a line each, for the build to mount at the same place. Without pip nothing is handed on.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

INSIDE = Path("/etc/xdg/pip")
SECTIONS = ("global", "install", ":env:")  # the later ones prevail


def told(listed: str) -> dict[str, str]:
    """Return what ``pip install`` goes by, of the lines that ``pip config list`` prints."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found and name != "config-file":
            found[section][name] = ast.literal_eval(value)
    return {name: value for section in SECTIONS for name, value in found[section].items()}


def handed_on(values: dict[str, str], folder: Path) -> tuple[dict[str, str], set[Path]]:
    """Copy the files that the values name to the folder; return the values as they are inside, and the folders."""
    inside, folders = {}, set()
    for name, value in values.items():
        words = value.split()
        for place, word in enumerate(words):
            path = Path(word.removeprefix("file://"))
            if path.is_absolute() and path.is_file():
                shutil.copy(path, folder / path.name)
                words[place] = str(INSIDE / path.name)
            elif path.is_absolute() and path.is_dir():
                folders.add(path.parent if path.name == "simple" else path)  # an index has its files beside it
        inside[name] = " ".join(words)
    return inside, folders


def main(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    values, folders = handed_on(told(done.stdout), folder)
    config = RawConfigParser()
    config["global"] = values
    with open(folder / "pip.conf", "w") as file:
        config.write(file)
    print("".join(f"{path}\n" for path in sorted(folders)), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
