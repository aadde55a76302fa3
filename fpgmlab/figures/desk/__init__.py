"""The plan editor's desk as a picture."""

from fpgmlab.figures.desk.desk import desk

__all__ = ["desk"]
