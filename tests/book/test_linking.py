"""Links as they stand in the repository lead to the book's pages, and nowhere that is not there."""

from __future__ import annotations

import pytest

from book.making.linking import relink

PAGES = {
    "notebooks/06_repair.ipynb": "notebooks/06_repair.ipynb",
    "book/glossary.md": "glossary.md",
    "DEPLOYMENT.md": "project/DEPLOYMENT.md",
    "notebooks/overview.png": "pictures/overview.png",
}
CITED = {"https://arxiv.org/abs/1811.00250": "he2019"}


@pytest.mark.parametrize(
    ("origin", "place", "written", "linked"),
    [
        ("notebooks/00_x.ipynb", "notebooks/00_x.ipynb", "[6](06_repair.ipynb)", "[6](06_repair.ipynb)"),
        ("notebooks/00_x.ipynb", "notebooks/00_x.ipynb", "[w](../book/glossary.md#plan)", "[w](../glossary.md#plan)"),
        ("README.md", "project/README.md", "[6](notebooks/06_repair.ipynb)", "[6](../notebooks/06_repair.ipynb)"),
        ("README.md", "project/README.md", "![p](notebooks/overview.png)", "![p](../pictures/overview.png)"),
        ("README.md", "project/README.md", "[d](DEPLOYMENT.md) [x](tests/x.py)", "[d](DEPLOYMENT.md) x"),
        ("book/index.md", "index.md", "[d](../DEPLOYMENT.md)", "[d](project/DEPLOYMENT.md)"),
        ("README.md", "project/README.md", "[a](#there) [b](https://x.org/y)", "[a](#there) [b](https://x.org/y)"),
        ("notebooks/00_x.ipynb", "notebooks/00_x.ipynb", "see chapter 6.", "see [chapter 6](06_repair.ipynb)."),
        ("notebooks/06_repair.ipynb", "notebooks/06_repair.ipynb", "Chapter 6, chapter 42", "Chapter 6, chapter 42"),
        ("notebooks/00_x.ipynb", "notebooks/00_x.ipynb", "## Chapter 6", "## Chapter 6"),
        ("README.md", "project/README.md", "[`d`](DEPLOYMENT.md) `e`", "[`d`](DEPLOYMENT.md) `e`"),
        ("README.md", "project/README.md", "`a` [`d`](tests/x.py) `e`", "`a` `d` `e`"),
        ("README.md", "project/README.md", "`[a](tests/x.py)`", "`[a](tests/x.py)`"),
        ("README.md", "project/README.md", "```py\nf[i](tests)\n```", "```py\nf[i](tests)\n```"),
    ],
)
def test_a_link_is_kept_moved_or_left_as_its_words(origin: str, place: str, written: str, linked: str):
    assert relink(written, origin, place, PAGES, CITED) == linked


def test_a_paper_is_a_citation_by_its_address_and_by_its_number():
    for written in ("[He et al. 2019](https://arxiv.org/abs/1811.00250)", "arXiv:1811.00250"):
        linked = relink(written, "notebooks/x", "notebooks/x", PAGES, CITED)
        assert linked.endswith("](../bibliography.md#he2019)")
    assert relink("arXiv:1234.56789", "a", "a", PAGES, CITED) == "arXiv:1234.56789"
