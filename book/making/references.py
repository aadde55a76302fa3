"""The bibliography: one BibTeX file, and who cites what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from pybtex.database import Entry, Person, parse_file

ARXIV = r"arXiv:(\d{4}\.\d{4,5})"
DOI = r"doi:(10\.\d{4,9}/[\w./-]*\w)"
BIBLIOGRAPHY = Path(__file__).resolve().parents[1] / "references.bib"


@cache
def references(path: Path = BIBLIOGRAPHY) -> dict[str, Entry]:
    """Return the entries by key, in the order of names and years."""
    entries = parse_file(str(path)).entries
    return dict(sorted(entries.items(), key=lambda item: (_sorting(item[1]), item[1].fields["year"])))


def addresses(entries: Mapping[str, Entry]) -> dict[str, str]:
    """Return the key of each reference by every address at which a chapter may link to it."""
    found = {entry.fields["url"]: key for key, entry in entries.items() if "url" in entry.fields}
    for key, entry in entries.items():
        if "eprint" in entry.fields:
            found[f"https://arxiv.org/abs/{entry.fields['eprint']}"] = key
        if "doi" in entry.fields:
            found[f"https://doi.org/{entry.fields['doi']}"] = key
    return found


def numbered(text: str) -> list[str]:
    """Return the addresses of what a text cites by its number after ``arXiv:`` or ``doi:``."""
    papers = [f"https://arxiv.org/abs/{number}" for number in re.findall(ARXIV, text)]
    return papers + [f"https://doi.org/{number}" for number in re.findall(DOI, text)]


def citing(texts: Iterable[tuple[str, str]], known: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, by key, the names of those of ``texts`` (name, Markdown or source) that cite a reference.

    That is a link to its address or to its place in the bibliography, or its number, see `numbered`.
    """
    found: dict[str, list[str]] = {}
    for name, text in texts:
        keys = [known.get(address) for address in re.findall(r"\]\((https?://[^()\s]+)\)", text)]
        keys += [known.get(address) for address in numbered(text)]
        keys += re.findall(r"bibliography\.md#(\w+)\)", text)
        for key in keys:
            if key is not None and name not in found.setdefault(key, []):
                found[key].append(name)
    return found


def bibliography(entries: Mapping[str, Entry], cited: Mapping[str, Iterable[str]]) -> str:
    """Return the list of references in Markdown; ``cited`` has links to the pages that cite each, by key."""
    parts = []
    for key, entry in entries.items():
        fields = entry.fields
        venue = _plain(fields.get("booktitle") or fields.get("journal") or fields.get("publisher") or "")
        links = [f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})"] if "eprint" in fields else []
        if "doi" in fields:
            links.append(f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})")
        if not links and "url" in fields:
            links.append(f"<{fields['url']}>")
        said = ", ".join(part for part in (f"*{venue}*" if venue else "", fields["year"]) if part)
        where = f" Cited in {', '.join(cited[key])}." if cited.get(key) else ""
        title = _plain(fields["title"])
        title += "" if title.endswith("?") else "."
        found = f" {_plain(fields['note'])}." if "note" in fields else ""
        found += f" {', '.join(links)}." if links else ""
        parts.append(f"({key})=\n\n{_names(entry)}. **{title}** {said}.{found}{where}\n")
    return "\n".join(parts)


def _sorting(entry: Entry) -> list[str]:
    return [" ".join(person.last_names).lower() for person in entry.persons["author"]]


def _names(entry: Entry) -> str:
    people = [_name(person) for person in entry.persons["author"]]
    if len(people) > 8:
        people = [*people[:7], "and others"]
    return ", ".join(people)


def _name(person: Person) -> str:
    parts = (*person.first_names, *person.middle_names, *person.prelast_names, *person.last_names)
    return " ".join(map(_plain, parts))


def _plain(text: str) -> str:
    return text.replace("{", "").replace("}", "").replace("--", "\N{EN DASH}")
