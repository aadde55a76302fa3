"""A widget that answers while a cell runs."""

from __future__ import annotations

import anywidget


class PromptWidget(anywidget.AnyWidget):
    """An anywidget whose messages from the browser do not wait for a running cell.

    JupyterLab sends them to a thread beside the cells. From version 7.4 on, ipykernel has them handled where the last
    message to the browser was sent from instead, which is mostly the thread of the cells; without its note of that,
    they are handled where the browser asks for. Callbacks may come off the main thread. Where a kernel or a front end
    knows nothing of this (Colab, VS Code, ipykernel < 7), messages wait for the cell, as those of other widgets do.
    """

    def open(self) -> None:
        """Open the connection to the browser."""
        super().open()
        self._answer_beside_cells()

    def _send(self, msg: dict, buffers: object = None) -> None:
        super()._send(msg, buffers)
        self._answer_beside_cells()

    def _answer_beside_cells(self) -> None:
        notes = getattr(self.comm, "__dict__", {})  # a front end's own comm may keep none
        notes.pop("_reply_subshell_id", None)
