"""The studies that are stored in ``data/results/``, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from fpgmlab.errors import unknown
from fpgmlab.studies.claims import read_claims
from fpgmlab.studies.files import folder, load, stored
from fpgmlab.studies.places import Step, found

HEAD = ("name", "title", "command", "machine", "date", "version")


def results() -> pd.DataFrame:
    """Return the stored studies, one a row.

    Returns
    -------
    DataFrame
        ``name``; ``title``: what it tells; ``command``: makes it anew, from the root of the checkout; ``machine``;
        ``date``: of the last of its figures, in ISO's form; ``version``: of fpgmlab, with the commit; ``figures``: how
        many numbers it holds; ``claims``: how many sentences stand on it, see `fpgmlab.studies.claims`; ``table``:
        whether `frame` has rows of it; ``path``.

    Raises
    ------
    FileNotFoundError
        When there is no data folder.

    Examples
    --------
    >>> fl.results().set_index("name").loc["geometry", "command"]
    'python tests/benchmarks/geometry.py'
    """
    standing = [claim.study for claim in read_claims()]
    rows = []
    for path, content in stored():
        head = content["study"]
        rows.append(
            {name: head[name] for name in HEAD}
            | {
                "figures": sum(1 for _ in numbers({key: part for key, part in content.items() if key != "study"})),
                "claims": standing.count(path.stem),
                "table": path.with_suffix(".parquet").is_file(),
                "path": path.relative_to(folder().parent.parent).as_posix(),
            }
        )
    return pd.DataFrame(rows, columns=[*HEAD, "figures", "claims", "table", "path"])


def table(name: str, key: str | Sequence[Step]) -> pd.DataFrame:
    """Return rows of a stored study as a table.

    Parameters
    ----------
    name : str
        As in `fpgmlab.results`.
    key : str or sequence
        Where the rows are: names with ``/`` between them, ``"planning/rows"``, or a sequence with a mapping where a row
        of a list is meant: ``["runs", {"seed": 0}, "history"]``.

    Returns
    -------
    DataFrame
        A row for each entry of a list of rows; of a mapping of rows as well, its keys in the column ``name``.

    Raises
    ------
    ValueError
        When there is no such study, no such key, or no rows at it.

    Examples
    --------
    >>> int(fl.studies.table("latency", "predictions/rows")["plans"].sum())
    120
    """
    place = key.split("/") if isinstance(key, str) else list(key)
    there = found(load(name), place).value
    if isinstance(there, list) and all(isinstance(row, Mapping) for row in there):
        return pd.DataFrame(there)
    if isinstance(there, Mapping):
        rows = {name: row for name, row in there.items() if isinstance(row, Mapping)}
        if rows:
            return pd.DataFrame([{"name": name, **row} for name, row in rows.items()])
        if there and all(isinstance(column, list) for column in there.values()):
            return pd.DataFrame(dict(there))
    what = f"{name!r} has no rows at {key!r}, but {type(there).__name__} {there!r:.60}"
    raise ValueError(f"{what}. fl.studies.load({name!r}) gives all of it.")


def frame(name: str) -> pd.DataFrame:
    """Return the single measurements of a study, where they are stored beside it (Parquet).

    Parameters
    ----------
    name : str
        As in `fpgmlab.results`, where ``table`` is true.

    Raises
    ------
    ValueError
        When there is no such study, or only its JSON.
    """
    path = folder() / f"{name}.parquet"
    if not path.is_file():
        known = sorted(path.stem for path in folder().glob("*.parquet"))
        raise ValueError(unknown("table of a study", name, known))
    return pd.read_parquet(path)


def numbers(content: object) -> Iterator[float]:
    """Yield each number in a JSON, truth values left out."""
    if isinstance(content, Mapping):
        for part in content.values():
            yield from numbers(part)
    elif isinstance(content, list):
        for part in content:
            yield from numbers(part)
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield content
