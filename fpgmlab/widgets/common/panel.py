"""What all panels are: widgets that answer while a cell runs, change one at a time, and can be made large."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import traitlets

from fpgmlab.widgets.common.picture import png_text, wanted
from fpgmlab.widgets.common.prompt import PromptWidget

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Panel(PromptWidget):
    """A panel of controls and pictures.

    Messages from the browser, cells and work in the background come from several threads, and traitlets is not made for
    that. Whoever changes something holds the lock and computes from the state as it is then, so that the last one to
    hold it leaves the picture of the last state.

    Attributes
    ----------
    large : bool
        Whether type and pictures are half as large again, legible from the last row of a room. Can be assigned and
        observed.
    """

    large = traitlets.Bool(False).tag(sync=True)

    _lock: threading.Condition = threading.Condition()  # until a panel has its own: traits are set before `__init__`

    def __init__(self, **state: object) -> None:
        if "_lock" not in vars(self):
            self._lock = threading.Condition()  # reentrant; whoever waits for something lets go of it meanwhile
        super().__init__(**state)

    def __setattr__(self, name: str, value: object) -> None:
        with self._lock:
            super().__setattr__(name, value)

    def set_state(self, sync_data: dict) -> None:
        """Take what the browser changed, ``sync_data``: values by the names of traits."""
        with self._lock:
            super().set_state(sync_data)

    # Where no kernel runs ---------------------------------------------------------------------------------------------

    def _picture(self) -> Figure | None:
        """Draw what the panel shows; None where there is nothing to draw."""
        return None

    def _in_words(self) -> str:
        """Return what the panel is of, in a line."""
        return type(self).__name__

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return what a notebook shows and keeps: the live panel, a picture of it as it is now, and words."""
        found = super()._repr_mimebundle_(**kwargs)
        if found is None:
            return None
        data, metadata = found
        data = {**data, "text/plain": self._in_words()}
        picture = png_text(self._picture) if wanted() else None
        return (data if picture is None else {**data, "image/png": picture}), metadata
