"""All figures and tables of a pruning paper at once, from the stored studies and one's own: ``fl.paper``.

In: studies as ``data/results`` holds them, rows of one's own. Out: PDF, CSV, LaTeX tables, captions that say where each
comes from, and a ``paper.tex`` that shows them all.
"""

from fpgmlab.figures.paper.paper import paper

__all__ = ["paper"]
