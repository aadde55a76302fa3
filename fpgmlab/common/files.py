"""Files: written whole or not at all, and where the project's data lives."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fpgmlab.common.given import described


def as_path(path: str | os.PathLike[str], name: str = "path", hint: str = "") -> Path:
    """Return a path that was passed as an argument.

    Parameters
    ----------
    path : path-like
    name, hint : str
        For the error: the argument's name, and what to do.

    Raises
    ------
    TypeError
        For anything else, such as a network where arguments are in another order.
    """
    if not isinstance(path, (str, os.PathLike)):
        words = f"{name} must be the path of a file or folder, a str or pathlib.Path; got {described(path)}"
        raise TypeError(f"{words}. {hint}" if hint else words)
    return Path(path)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it there on success, remove it on any failure.

    Missing parent folders are created.

    Parameters
    ----------
    path : path-like
        Where the finished file shall be.

    Raises
    ------
    OSError
        When the folder cannot be made or written, with the folder's name.
    TypeError
        For what is no path.
    """
    target = as_path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError("it is a folder; give the name of a file")
        folder = tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise type(error)(
            f"cannot write {str(target)!r}: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    # A folder of its own, not only a file: some writers (ONNX) put side files next to theirs.
    temporary = Path(folder) / target.name
    try:
        yield temporary
        # Some writers make the file private; it shall have the permissions that any new file has here.
        (Path(folder) / "new").touch()
        temporary.chmod((Path(folder) / "new").stat().st_mode)
        os.replace(temporary, target)
    finally:
        for left in Path(folder).iterdir():
            left.unlink()
        os.rmdir(folder)


def is_free(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder is not there, or holds nothing but what killed processes have left half-written."""
    path = Path(folder)
    return not path.exists() or (path.is_dir() and all(map(_is_unfinished, path.iterdir())))


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that were killed while they wrote have left in a folder and below it.

    For a folder that is known to be one's own, where nobody else is writing; it need not be there.
    """
    for left in Path(folder).rglob(".*.*"):
        if _is_unfinished(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_unfinished(path: Path) -> bool:
    return path.is_dir() and re.fullmatch(r"\..+\.\w{8}", path.name) is not None  # as `atomic_path` names its folder


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def whole(path: str | os.PathLike[str]) -> str:
    """Return a path from the root on, in quotes: for messages, which may be read elsewhere than where it was given."""
    return repr(os.path.abspath(path))


def json_text(source: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the JSON text that is given as such, or as the path of a file; and what to call it in an error."""
    if isinstance(source, str) and source.lstrip().startswith("{"):
        return source, "the text"
    path = as_path(source, "source")
    if not path.is_file():
        raise FileNotFoundError(f"no file {whole(source)}")
    return path.read_text(encoding="utf-8"), repr(str(source))


def data_dir() -> Path:
    """Return the folder with the project's data sets, checkpoints and stored studies.

    It is ``$FPGMLAB_DATA`` when that is set, else ``data/`` of the checkout that this package lies in, else that of the
    installed package ``fpgmlab-data``.

    Raises
    ------
    FileNotFoundError
        When none of them is there.
    """
    named, checkout = os.environ.get("FPGMLAB_DATA"), Path(__file__).resolve().parents[2] / "data"
    found = (Path(named),) if named else (checkout, installed_data())
    for folder in found:
        if folder is not None and (folder / "README.md").is_file():
            return folder
    where = (
        f"FPGMLAB_DATA={named!r} is no such folder"
        if named
        else f"FPGMLAB_DATA is not set, {str(checkout)!r} of a checkout is not there, fpgmlab-data is not installed"
    )
    raise FileNotFoundError(
        f"the data folder of fpgmlab was not found: {where}. Data sets and checkpoints come with the package "
        "fpgmlab-data, pip install 'fpgmlab[data]', or with the source repository: clone it and set FPGMLAB_DATA to "
        "its data/ folder."
    )


def installed_data() -> Path | None:
    """Return the folder of the installed package ``fpgmlab-data``: data and notebooks; None where it is not."""
    spec = importlib.util.find_spec("fpgmlab_data")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def cache_dir() -> Path:
    """Return the folder for what is fetched on request; it need not be there.

    It is ``$FPGMLAB_CACHE`` when that is set, else ``cache/`` in the data folder, but nothing is written into an
    installed package: then it is ``fpgmlab/`` in the user's folder for caches.
    """
    named = os.environ.get("FPGMLAB_CACHE")
    if named:
        return Path(named)
    folder = data_dir()
    if folder != installed_data():
        return folder / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpgmlab"


def data_file(*parts: str) -> Path:
    """Return the path of a file below `data_dir`, from the parts of its path.

    Raises
    ------
    FileNotFoundError
        When it is not there.
    """
    path = data_dir().joinpath(*parts)
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path)!r} is missing from the data folder. Restore it with 'git checkout -- data', or rebuild it "
            "with 'python data/build.py' (see data/README.md); where it was installed, install fpgmlab-data again."
        )
    return path
