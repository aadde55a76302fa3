"""Links of a page as they stand in the repository, made into those of the book."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from book.making.references import ARXIV

_CODE = re.compile(r"(^ *```.*?^ *```[^\n]*$|``.+?``|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def relink(text: str, origin: str, place: str, pages: Mapping[str, str], cited: Mapping[str, str]) -> str:
    """Return Markdown whose links lead to the book's pages.

    Parameters
    ----------
    origin : str
        Where the page lies in the repository, such as ``notebooks/06_repair.ipynb``: relative links start there.
    place : str
        Where it lies in the book.
    pages : mapping of str to str
        The place of each page and picture in the book, by its path in the repository. What is linked and not among
        them, such as a test, stays as its words.
    cited : mapping of str to str
        The key of a reference by its address: a link to the paper becomes one to the bibliography, as does its number.
    """

    def link(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        if target in cited:
            return f"[{words}]({_relative('bibliography.md', place)}#{cited[target]})"
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, hash_mark, anchor = target.partition("#")
        found = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        if found is None:
            return words
        return f"{mark}[{words}]({_relative(found, place)}{hash_mark}{anchor})"

    def number(match: re.Match[str]) -> str:
        address = f"https://arxiv.org/abs/{match[1]}"
        return f"[{match[0]}]({address})" if address in cited else match[0]

    parts = _CODE.split(text)  # every second one is code
    parts[::2] = [_LINK.sub(link, re.sub(rf"(?<!\[){ARXIV}", number, part)) for part in parts[::2]]
    return "".join(parts)


def _relative(target: str, place: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(place) or ".")
