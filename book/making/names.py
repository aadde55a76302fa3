"""Names between backticks, such as ``fl.prune`` or ``fl.Plan.uniform(...)``, lead to the API."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

from book.making.references import ARXIV, DOI, addresses, numbered, references

# What docstrings hold as it is: literals, names, words that are emphasized. Any other star or bar means itself.
_KEPT = re.compile(
    r"(^ *>>>[^\n]*$|^ *\.\.\. [^\n]*$|``.+?``|`[^`]+`|(?<![\w*])\*{1,2}[^\s*](?:[^*\n]*[^\s*])?\*{1,2}(?![\w*]))",
    re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(r"fl((?:\.[A-Za-z_]\w*)+)(?:\(.*\))?$", re.DOTALL)


class LinkNames(SphinxTransform):
    """Make each literal that is a name of ``fl`` a reference to it."""

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        for literal in list(self.document.findall(nodes.literal)):
            found = _NAME.match(literal.astext())
            if found is None or isinstance(literal.parent, addnodes.pending_xref | nodes.reference):
                continue
            where = {"refdomain": "py", "reftype": "obj", "refdoc": self.env.docname, "refwarn": False}
            target = addnodes.pending_xref("", reftarget=f"fpgmlab{found[1]}", **where)
            literal.replace_self(target)
            target += literal


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, words: nodes.Element
) -> nodes.Element | None:
    """Find a name where it is documented: ``fpgmlab.recovery.fit`` as ``fpgmlab.fit``."""
    if node.get("refdomain") != "py":
        return None
    python = env.domains.python_domain
    parts = str(node["reftarget"]).removeprefix("fpgmlab.").split(".")
    for start in range(len(parts)):
        for name in ("fpgmlab." + ".".join(parts[start:]), "fpgmlab." + ".".join([*parts[:1], *parts[start:]])):
            if name in python.objects and not python.objects[name].aliased:
                return python.resolve_xref(
                    env, node["refdoc"], app.builder, "obj", name, addnodes.pending_xref("", reftarget=name), words
                )
    return None


def escape(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Let ``|gamma|`` and ``*kernel`` in docstrings be what they are for who reads the source."""
    parts = _KEPT.split("\n".join(lines))  # every second one is kept
    parts[::2] = [re.sub(r"(?<!\\)([|*])", r"\\\1", part) for part in parts[::2]]
    text = re.sub(f"{ARXIV}|{DOI}", _cited, "".join(parts))
    lines[:] = text.split("\n")


def _cited(match: re.Match[str]) -> str:
    """Return the number of a paper as a link to the bibliography, if it is there."""
    key = addresses(references()).get(numbered(match[0])[0])
    return f":ref:`{match[0]} <{key}>`" if key else match[0]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(LinkNames)
    app.connect("autodoc-process-docstring", escape, priority=400)  # before sections are read
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
