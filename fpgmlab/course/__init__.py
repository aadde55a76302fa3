"""The course: exercises that check themselves, and the notebooks to work in.

In: a reader's answers, a folder to copy to. Out: "right", or a hint that does not tell; a copy of ``notebooks/``.
"""

from fpgmlab.course import exercises
from fpgmlab.course.copying import copy_notebooks

__all__ = ["copy_notebooks", "exercises"]
