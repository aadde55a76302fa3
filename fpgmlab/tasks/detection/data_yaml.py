"""``data.yaml`` of a data set in YOLO's layout: names of classes, keypoints, and where the pictures of a split lie."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpgmlab.common.files import whole
from fpgmlab.errors import few
from fpgmlab.tasks.detection.pictures import read_text
from fpgmlab.tasks.reading import SUFFIXES


@dataclass(frozen=True)
class DataYaml:
    """What the file says; nothing in it is executed or fetched, such as its entry ``download``."""

    path: Path
    text: str
    entries: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> DataYaml:
        """Read the file; FileNotFoundError or ValueError when it is not there or of another kind."""
        import yaml

        if not path.is_file():
            what = _folder(path) if path.is_dir() else f"no file {whole(path)}"
            raise FileNotFoundError(f"{what}; expected the data.yaml of a data set in YOLO's layout")
        text = read_text(path)
        try:
            entries = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{str(path)!r} is no YAML: {error}") from error
        if not isinstance(entries, dict) or not {"names", "nc"} & set(entries):
            raise ValueError(f"{str(path)!r} is no data.yaml: it must have names, train and val")
        return cls(path, text, entries)

    def where(self, key: str) -> str:
        """Return the file and the line of an entry, for messages."""
        found = re.search(rf"^{re.escape(key)}\s*:", self.text, re.MULTILINE)
        return f"{self.path}, line {self.text.count(chr(10), 0, found.start()) + 1}" if found else str(self.path)

    def names(self) -> list[str]:
        """Return the classes' names, by number; class0, class1, ... where there is only ``nc``, as in YOLOv5."""
        count = self.entries.get("nc")
        if "names" not in self.entries:
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(f"{self.where('nc')}: nc must be the number of classes, or names given; got {count!r}")
            return [f"class{number}" for number in range(count)]
        names, where = self.entries["names"], self.where("names")
        if isinstance(names, dict):
            if sorted(names, key=str) != sorted(range(len(names)), key=str):
                raise ValueError(f"{where}: names must be numbered 0 to {len(names) - 1}; got {reprlib.repr(names)}")
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list) or not names:
            raise ValueError(f"{where}: names must be a list of class names; got {reprlib.repr(names)}")
        for number, name in enumerate(names):
            if not isinstance(name, (str, int)) or isinstance(name, bool):  # YAML takes a bare yes, no, on, off for one
                found = type(name).__name__
                raise ValueError(f"{where}: name {number} must be text, not of type {found}; put it in quotes")
        if count is not None and count != len(names):
            raise ValueError(f"{self.where('nc')}: nc is {count!r}, but there are {len(names)} names")
        return list(map(str, names))

    def keypoints(self) -> tuple[int, int] | None:
        """Return ``kpt_shape``: how many keypoints an object has, of 2 or 3 numbers each; None when it is not there."""
        shape = self.entries.get("kpt_shape")
        if shape is None:
            return None
        whole = isinstance(shape, list) and all(type(number) is int for number in shape)
        if whole and (shape == [0, 0] or (len(shape) == 2 and shape[0] > 0 and shape[1] in (2, 3))):
            return shape[0], shape[1]
        raise ValueError(
            f"{self.where('kpt_shape')}: kpt_shape must be [number of keypoints, 2 or 3], or [0, 0] for none; got "
            f"{reprlib.repr(shape)}"
        )

    def pictures(self, split: str) -> list[Path]:
        """Return the pictures of a split: of folders, with all folders in them, and of lists."""
        said = self.entries.get(split)
        if said is None:
            there = self._splits() or "none"
            raise ValueError(f"{self.where(str(split))}: no entry {split!r}, or it is empty; its splits are {there}")
        where = f"{self.where(split)}: {split}"
        entries = said if isinstance(said, list) else [said]
        for key, found in (("path", [self.entries.get("path") or ""]), (split, entries)):
            if not all(isinstance(entry, str) for entry in found):
                raise ValueError(f"{self.where(key)}: {key!r} must be a path; got {reprlib.repr(self.entries[key])}")
        return [file for entry in entries for file in self._files(entry, f"{where}: {entry!r}")]

    def _splits(self) -> list[str]:
        """Return the names of the entries that are splits by what they hold: a path, or a list of them."""
        others = ("names", "path", "download")
        lists = {str(key): said if isinstance(said, list) else [said] for key, said in self.entries.items()}
        return [key for key, said in lists.items() if key not in others and all(isinstance(each, str) for each in said)]

    def _files(self, entry: str, where: str) -> Iterator[Path]:
        places = self._places(entry)
        place = next((place for place in places if place.exists()), None)
        if place is None:
            hint = " Write / in place of \\." if "\\" in entry else ""
            hint += " Its entry 'download' is not run: fetch the data first." if "download" in self.entries else ""
            raise FileNotFoundError(
                f"{where}: no folder or list of pictures at {', '.join(map(repr, map(str, places)))}. Give the data "
                f"set's own folder as an absolute 'path:'.{hint}"
            )
        if place.is_dir():
            files = sorted(file for file in _all_files(place) if file.suffix.lower() in SUFFIXES)
            files = [file for file in files if not file.name.startswith(".")]  # macOS leaves ._a.jpg beside a.jpg
            if not files:
                raise FileNotFoundError(f"{where}: no pictures in {str(place)!r}")
            yield from files
        else:
            for number, line in enumerate(read_text(place).splitlines(), 1):
                if line.strip():
                    yield self._listed(line.strip(), place, number)

    def _listed(self, line: str, place: Path, number: int) -> Path:
        """Return the picture that a line of a list means."""
        file = next((file for file in (place.parent / line, *self._places(line)) if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"{place}, line {number}: no picture {whole(place.parent / line)}")
        return file

    def _places(self, entry: str) -> list[Path]:
        """Return what a path can mean, likeliest first.

        YOLOv5 starts from the entry ``path``, and that from its own folder: as a rule the one above that of the file,
        or the working directory. Where nothing is there, it leaves out a leading ``../``.
        """
        base = str(self.entries.get("path") or "")
        own = self.path.absolute().parent
        roots = (own, own.parent, Path.cwd())
        found = (root / base / said for root in roots for said in (entry, entry.removeprefix("../")))
        return list(dict.fromkeys(Path(os.path.normpath(place)) for place in found))


def _folder(path: Path) -> str:
    """Return what a folder in the file's place holds: the YAML that is meant, or what else there is."""
    if described := sorted(file.name for file in path.glob("*.y*ml")):
        return f"{whole(path)} is a folder with {few(described)}"
    inside = sorted(place.name for place in path.iterdir() if not place.name.startswith("."))
    return (
        f"{whole(path)} is a folder with {few(inside) or 'nothing in it'} and no YAML (of pictures in folders of "
        "classes fl.tasks.image_folder makes a task)"
    )


def _all_files(place: Path) -> Iterator[Path]:
    """Yield the files in a folder and in all below it, also through links; each folder once."""
    seen = set()
    for folder, below, files in os.walk(place, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        yield from (Path(folder, file) for file in files)
