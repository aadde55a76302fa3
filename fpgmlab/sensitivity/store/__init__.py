"""Store: how the work of a sweep is cut into parts, spread over workers and kept on disk.

In: a job (model, task, points). Out: its parts, in any order and after any interruption the same curves.
"""

from fpgmlab.sensitivity.store.folder import stored
from fpgmlab.sensitivity.store.progress import Progress, begun, unfinished
from fpgmlab.sensitivity.store.work import OutOfMemory, Part, SweepJob, Work, here, opened, parts

__all__ = [
    "OutOfMemory",
    "Part",
    "Progress",
    "SweepJob",
    "Work",
    "begun",
    "here",
    "opened",
    "parts",
    "stored",
    "unfinished",
]
