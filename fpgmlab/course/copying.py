"""A copy of the course to work in: the notebooks and their pictures, as the project holds them."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from fpgmlab.common.files import as_path, installed_data

_SUFFIXES = (".ipynb", ".png")


def copy_notebooks(folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Copy the course's notebooks into a folder.

    Parameters
    ----------
    folder : path-like
        Where to; it is made when it is not there. The notebooks write their own files to ``outputs/`` beside it.
    overwrite : bool
        Whether files of the same names, somebody's work perhaps, may be replaced.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    TypeError
        For what is no path.
    FileExistsError
        When a file of the same name is there; nothing is copied then.
    FileNotFoundError
        When neither a checkout nor the installed package holds the notebooks.

    Examples
    --------
    >>> fl.course.copy_notebooks("course")[0].name  # doctest: +SKIP
    '00_quickstart.ipynb'
    """
    source, target = notebooks_dir(), as_path(folder, "folder")
    files = sorted(path for path in source.rglob("*") if path.suffix in _SUFFIXES and _is_course(path, source))
    there = [path for path in files if (target / path.relative_to(source)).exists()]
    if there and not overwrite:
        names = ", ".join(str(path.relative_to(source)) for path in there[:3]) + (", ..." if len(there) > 3 else "")
        raise FileExistsError(
            f"{str(target)!r} has {names} already, and nothing was copied. Choose another folder, or overwrite them."
        )
    written = []
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        written.append(copy)
    return written


def notebooks_dir() -> Path:
    """Return the folder that holds the course's notebooks: of the checkout around this package, or of fpgmlab-data.

    Raises
    ------
    FileNotFoundError
        When neither is there.
    """
    checkout, installed = Path(__file__).resolve().parents[2] / "notebooks", installed_data()
    for folder in (checkout, installed and installed / "notebooks"):
        if folder is not None and (folder / "00_quickstart.ipynb").is_file():
            return folder
    raise FileNotFoundError(
        f"the notebooks were not found: {str(checkout)!r} of a checkout is not there, fpgmlab-data is not installed. "
        "Get them with pip install 'fpgmlab[data]', or clone the source repository and run this from there."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``python -m fpgmlab notebooks`` takes."""
    parser.add_argument("folder", metavar="DIR", help="where to copy them")
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same names")


def command(options: argparse.Namespace) -> None:
    """Copy the notebooks for ``python -m fpgmlab notebooks DIR``, and say what is there now."""
    written = copy_notebooks(options.folder, overwrite=options.overwrite)
    notebooks = [path for path in written if path.suffix == ".ipynb"]
    for path in notebooks:
        print(path)
    print(f"{len(notebooks)} notebooks. Begin with: jupyter lab {notebooks[0]}")


def _is_course(path: Path, source: Path) -> bool:
    """Return whether a file is one of the course's, and not what an editor has left beside it."""
    return not any(part.startswith(".") for part in path.relative_to(source).parts)
