"""A widget that answers while a cell runs."""

from __future__ import annotations

import anywidget


class PromptWidget(anywidget.AnyWidget):
    """An anywidget whose messages from the browser do not wait for a running cell.

    JupyterLab sends them to a thread beside the cells. From version 7.4 on, ipykernel has them handled where the last
    message to the browser was sent from instead, which is mostly the thread of the cells. Here the connection itself
    says that they are handled where the browser asks for: a note that were taken back after each message would still
    count for what comes in between. Callbacks may come off the main thread. Where a kernel or a front end knows nothing
    of this (Colab, VS Code, ipykernel < 7), messages wait for the cell, as those of other widgets do.
    """

    def open(self) -> None:
        """Open the connection to the browser."""
        super().open()
        self._answer_beside_cells()

    def _answer_beside_cells(self) -> None:
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = _where_the_browser_asks


def _where_the_browser_asks(data: object, asked: str | None) -> str | None:
    """Return the subshell that shall handle a message, in place of ipykernel's own rule."""
    return asked
