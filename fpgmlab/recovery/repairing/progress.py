"""A repair's progress on disk: each layer as soon as it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from fpgmlab.common.files import as_path, atomic_path, is_free, remove_unfinished, write_text


class Progress:
    """The finished layers of one repair, in a folder, or nowhere.

    Parameters
    ----------
    path : path-like or None
        The folder; made when it is not there.
    made_from : mapping
        Whatever decides the result, by name; JSON.

    Raises
    ------
    ValueError
        When the folder holds another repair, with what differs.
    """

    def __init__(self, path: str | os.PathLike[str] | None, made_from: Mapping[str, Any]) -> None:
        self._folder = None if path is None else as_path(path)
        if self._folder is None:
            return
        head = self._folder / "repair.json"
        made_from = json.loads(json.dumps(dict(made_from)))
        if not head.exists() and not is_free(self._folder):
            raise ValueError(f"{str(self._folder)!r} is there and holds no repair. Choose a new folder.")
        remove_unfinished(self._folder)
        if not head.exists():
            write_text(head, json.dumps(made_from, indent=1))
            return
        try:
            stored = json.loads(head.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{str(head)!r} is damaged: {error}. Remove the folder to begin anew.") from error
        other = [name for name in {**made_from, **stored} if stored.get(name) != made_from.get(name)]
        if other:
            raise ValueError(
                f"{str(self._folder)!r} holds the repair of something else: {', '.join(other)} differ. Choose a new "
                "folder, or remove this one."
            )

    def load(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the changed tensors by dotted name and the report of a layer; None when it is not finished."""
        if self._folder is None:
            return None
        path = self._folder / f"{number:04}.safetensors"
        row = path.with_suffix(".json")
        if not row.exists():
            return None
        return load_file(path), json.loads(row.read_text(encoding="utf-8"))

    def save(self, number: int, tensors: Mapping[str, Tensor], row: Mapping[str, Any]) -> None:
        """Store a finished layer, whole or not at all."""
        if self._folder is None:
            return
        path = self._folder / f"{number:04}.safetensors"
        with atomic_path(path) as temporary:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        write_text(path.with_suffix(".json"), json.dumps(dict(row)))
