"""Links of a page as they stand in the repository, made into those of the book."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from book.making.references import ARXIV

_CODE = re.compile(r"^ *```.*?^ *```[^\n]*$|``.+?``|`[^`\n]+`", re.DOTALL | re.MULTILINE)
# A heading, which has no links; a link; or what is not yet one: the number of a paper or of a chapter.
_PLACE = re.compile(
    rf"^#.*$|(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)|{ARXIV}|\b[Cc]hapter[ \n](\d\d?)\b", re.MULTILINE
)


def relink(text: str, origin: str, place: str, pages: Mapping[str, str], cited: Mapping[str, str]) -> str:
    """Return Markdown whose links lead to the book's pages; "chapter 6" and the numbers of papers become links.

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
        The key of a reference by its address: a link to the paper becomes one to the bibliography.
    """
    numbered = {int(path[10:12]): path for path in pages if re.match(r"notebooks/\d\d_", path)}

    def link(match: re.Match[str]) -> str:
        mark, words, target, number, chapter = match.groups()
        if number is not None:
            words, target = match[0], f"https://arxiv.org/abs/{number}"
            return f"[{words}]({_cited(target)})" if target in cited else words
        if chapter is not None:
            page = numbered.get(int(chapter), origin)
            return match[0] if page == origin else f"[{match[0]}]({_relative(pages[page], place)})"
        if target is None:
            return match[0]
        if target in cited:
            return f"[{words}]({_cited(target)})"
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, hash_mark, anchor = target.partition("#")
        found = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(origin), path)))
        if found is None:
            return words
        return f"{mark}[{words}]({_relative(found, place)}{hash_mark}{anchor})"

    def _cited(address: str) -> str:
        return f"{_relative('bibliography.md', place)}#{cited[address]}"

    code = _CODE.findall(text)
    linked = _PLACE.sub(link, _CODE.sub("\0", text))
    kept = iter(code)
    return re.sub("\0", lambda match: next(kept), linked)


def _relative(target: str, place: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(place) or ".")
