"""What every figure is held to: texts on the page that do not cover each other, a PDF with fonts in it."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fpgmlab.figures.files import drawn as drawn_as

WIDTHS = {
    ("cvpr", "column"): 3.25,
    ("cvpr", "page"): 6.875,
    ("neurips", "column"): 5.5,
    ("ieee", "column"): 3.5,
    ("ieee", "page"): 7.16,
}


def check_texts(figure: Figure, texts: list[Text], least: float) -> None:
    assert texts
    page = figure.bbox.padded(0.75)
    boxes = []
    for text in texts:
        assert text.get_fontsize() >= least, text.get_text()
        box = text.get_window_extent()
        assert page.x0 <= box.x0 < box.x1 <= page.x1, f"{text.get_text()!r} leaves the page: {box}, {page}"
        assert page.y0 <= box.y0 < box.y1 <= page.y1, f"{text.get_text()!r} leaves the page: {box}, {page}"
        if text.get_rotation() in (0, 90):  # the frame of a slanted text says little
            boxes.append((box, text.get_text()))
    for (one, a), (two, b) in combinations(boxes, 2):
        across = min(one.x1, two.x1) - max(one.x0, two.x0)
        down = min(one.y1, two.y1) - max(one.y0, two.y0)
        smaller = min(one.width * one.height, two.width * two.height)
        assert across <= 0 or down <= 0 or across * down < 0.2 * smaller, f"{a!r} covers {b!r}"


def check_pdf(figure: Figure, width: float) -> bytes:
    """Return the PDF after looking at its fonts and its width."""
    content = drawn_as(figure, "pdf")
    assert b"/Type3" not in content.replace(b" ", b"")
    box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", content)
    assert float(box[1]) == pytest.approx(72 * width, abs=0.01)
    return content
