"""How many examples a task wants in one pass where the caller leaves it open."""

from __future__ import annotations


def train_batch_size(task: object, asked: int | None = None) -> int:
    """Return what was asked for, else the task's ``train_batch_size``, or 128."""
    return getattr(task, "train_batch_size", 128) if asked is None else asked


def eval_batch_size(task: object, asked: int | None = None) -> int:
    """Return what was asked for, else the task's ``eval_batch_size``, or 256."""
    return getattr(task, "eval_batch_size", 256) if asked is None else asked
