"""The browser's side, read without a browser: every name is declared or imported, and every import is used.

A linter would say more, but comes with an installation of its own; this is what nothing else notices until a line runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fpgmlab as fl

FILES = sorted((Path(fl.__file__).parent / "widgets").glob("*/static/*.js"))
TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|/(?![*/\s=])(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\\n\[])+/[a-z]*)"""
    r"""|[A-Za-z_$][\w$]*|[\d.]*\d[\w.]*|\.\.\.|\?\.(?!\d)|=>|[=!]==?|[<>*+/|&?-]+=|.""",
    re.DOTALL,
)
NAME = re.compile(r"[A-Za-z_$][\w$]*")
KEYWORDS = """
await break case catch class const continue default delete do else export extends false finally for function if import
in instanceof let new null of return static super switch this throw true try typeof void while yield
""".split()  # noqa: SIM905
BROWSER = """
Array Blob Boolean Float32Array Float64Array ImageData Infinity Int32Array JSON Map Math NaN Number Object
ResizeObserver Set String URL Uint8Array Uint8ClampedArray WeakMap clearTimeout document getComputedStyle matchMedia
navigator performance requestAnimationFrame setTimeout undefined window
""".split()  # noqa: SIM905
OPEN, CLOSE = set("([{"), set(")]}")


def tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a module without comments, strings and patterns; of a template what stands in ``${}``."""
    at, depths = 0, [-1]  # of the braces of each template that is open
    while at < len(text):
        if text[at] == "`" or (text[at] == "}" and depths[-1] == 0):
            if text[at] == "}":
                depths.pop()
                yield ")"
            end = re.compile(r"(?:\\.|(?!\$\{)[^`\\])*", re.DOTALL).match(text, at + 1).end()
            at = end + 1
            if text.startswith("${", end):
                depths.append(0)
                at = end + 2
                yield "("
            continue
        found = TOKEN.match(text, at)
        at = found.end()
        if found["skip"] is None:
            depths[-1] += {"{": 1, "}": -1}.get(found[0], 0) if len(depths) > 1 else 0
            yield found[0]
        elif found[0].startswith(('"', "/")) and not found[0].startswith(("//", "/*")):
            yield "0"  # a string or a pattern is a value


def partners(code: list[str]) -> dict[int, int]:
    """Return for each bracket where its partner is."""
    found, opened = {}, []
    for i, token in enumerate(code):
        if token in OPEN:
            opened.append(i)
        elif token in CLOSE:
            found[i], found[opened[-1]] = opened[-1], i
            opened.pop()
    assert not opened, "a bracket is not closed"
    return found


def free_names(text: str) -> set[str]:
    """Return the names that a module uses and does not declare; a name declared anywhere counts as declared."""
    code = ["", *tokens(text), ""]
    partner = partners(code)
    keys, declared = set(), set()
    for i in range(1, len(code) - 1):
        method = code[i + 1] == "(" and code[partner[i + 1] + 1] == "{" and code[i - 1] in ("{", ",", "}")
        if code[i - 1] in (".", "?.") or (code[i - 1] in ("{", ",") and (code[i + 1] == ":" or method)):
            keys.add(i)

    def bind(first: int, last: int) -> None:
        declared.update(code[i] for i in range(first, last + 1) if NAME.fullmatch(code[i]) and i not in keys)

    def bind_one(i: int) -> int:
        bind(i, partner.get(i, i))
        return partner.get(i, i) + 1

    for i, token in enumerate(code):
        if token == "=>":
            bind(partner.get(i - 1, i - 1), i - 1)
        elif token in ("function", "class"):
            bind_one(i + 1)
        elif token == ")" and code[i + 1] == "{" and code[partner[i] - 1] not in ("if", "for", "while", "switch"):
            bind(partner[i], i)  # parameters of a function or a method, or what is caught
        elif token in ("const", "let"):
            at = bind_one(i + 1)
            while code[at] not in (";", "of", *CLOSE):
                at = bind_one(at + 1) if code[at] == "," else partner.get(at, at) + 1
    used = {token for i, token in enumerate(code) if NAME.fullmatch(token) and i not in keys}
    return used - declared - set(KEYWORDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}/{path.name}")
def test_a_module_uses_what_it_imports_and_imports_what_it_uses(path: Path):
    pattern = re.compile(r'^import \{([^}]*)\} from "[^"]+";$', re.MULTILINE)
    imported = {name for names in pattern.findall(path.read_text()) for name in re.findall(r"\w+", names)}
    assert free_names(pattern.sub("", path.read_text())) - set(BROWSER) == imported


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("const a = (b, { c: d, ...e }) => a + b + d + c;", {"c"}),
        ("function f(x) { return `${x} of ${`${y}`}`; }", {"y"}),
        ('let a, [b] = a; for (const c of b) c.d?.e("f", /g/);', set()),
        ("export default { render, draw(at) { return at / w; }, key: 1 };", {"render", "w"}),
        ("try { a(); } catch (error) { tell(error); }", {"a", "tell"}),
        ("const f = x ? y : z; // but w", {"x", "y", "z"}),
    ],
)
def test_free_names_are_found(text: str, free: set[str]):
    assert free_names(text) == free


def test_brackets_are_looked_at():
    with pytest.raises(AssertionError, match="not closed"):
        free_names("f(x;")
