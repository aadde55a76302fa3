"""A picture of a panel, for where no kernel runs: a saved notebook, a page of nbconvert, GitHub."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 150_000  # bytes in a notebook
_DOTS = (110, 80, 60, 45)  # an inch; fewer where the picture would be too large


def wanted() -> bool:
    """Tell whether what is shown may be saved: Voila's pages never are."""
    return not os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def png_text(draw: Callable[[], Figure | None]) -> str | None:
    """Return a figure as PNG in base64, as notebooks hold it; None where there is none or it cannot be drawn.

    Parameters
    ----------
    draw : callable
        What it raises is left out: a panel is shown without its picture.
    """
    try:
        figure = draw()
        if figure is None:
            return None
        for dots in _DOTS:
            data = _png(figure, dots)
            if len(data) <= MOST:
                return base64.b64encode(data).decode()
    except Exception:  # criteria and data of one's own raise what they like
        return None
    return None


def _png(figure: Figure, dots: int) -> bytes:
    """Return a figure with few colours: text and areas need no more, and it is a third of the size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dots)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.frombuffer("RGBA", canvas.get_width_height(physical=True), canvas.buffer_rgba())
    file = io.BytesIO()
    image.convert("RGB").quantize(128).save(file, "png", optimize=True)
    return file.getvalue()
