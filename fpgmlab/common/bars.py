"""Progress bars, in terminals and in notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(iterable: Iterable[Any] | None = None, *, progress: bool = True, **options: Any) -> tqdm:
    """Return a bar of tqdm that goes when it is done.

    In a notebook it leaves no widget behind, whose place would hold an error once the page is loaded again, but what it
    said last where it did not come to its end.

    Parameters
    ----------
    iterable : iterable, optional
        What to go through.
    progress : bool
        Show it.
    **options
        As for ``tqdm``.
    """
    from tqdm import auto

    kind = auto.tqdm
    if progress and any(base.__module__ == "tqdm.notebook" for base in kind.__mro__):
        kind = _leaving_nothing(kind)
    return kind(iterable, disable=not progress, leave=False, **options)


def _leaving_nothing(kind: type[Any]) -> type[Any]:
    from IPython.display import display

    class Bar(kind):
        _place: Any = None  # where it is shown

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, display=False, **options)
            self._place = display(self.container, display_id=True)

        def close(self) -> None:
            place, self._place = self._place, None
            last = str(self) if place is not None and self.total and self.n < self.total else ""
            super().close()
            if place is not None:
                place.update({"text/plain": last}, raw=True)

    return Bar
