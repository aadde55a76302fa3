"""Pictures in files: of any kind, upright, as bytes; and which of many are damaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpgmlab.common.bars import progress_bar
from fpgmlab.common.files import whole

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
ORIENTATION = 274  # the EXIF tag; 5 to 8 lie on their side
CAMERAS = ("JPEG", "MPO")  # formats whose orientation counts; in PNG it may come after the pixels, slow to find
SHOWN = 10  # damaged pictures that a message tells of


def read_picture(path: Path) -> Tensor:
    """Return a picture as uint8 (3, height, width), a JPEG turned upright as its EXIF data say.

    Raises
    ------
    FileNotFoundError, ValueError
        When it is not there or cannot be read, with its path.
    """
    from PIL import Image, ImageOps

    with _naming(path), Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened) if opened.format in CAMERAS else opened
        if picture.mode.startswith(("I", "F")):  # deep greys, which PIL would cut off at 255
            grey = np.nan_to_num(np.asarray(picture, dtype=np.float64))
            most = 65535 if grey.max() > 255 else 1 if picture.mode == "F" and grey.max() <= 1 else 255
            picture = Image.fromarray((grey / most * 255).clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of an upright picture without reading its pixels; errors as in `read_picture`."""
    from PIL import Image

    with _naming(path), Image.open(path) as picture:
        width, height = picture.size
        turned = picture.format in CAMERAS and picture.getexif().get(ORIENTATION, 1) >= 5
        return (height, width) if turned else (width, height)


class _naming:
    """Give errors of reading a picture its path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        if not self._path.is_file():
            raise FileNotFoundError(f"no picture {whole(self._path)}")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):  # PIL raises nearly any for broken files
            raise ValueError(
                f"{whole(self._path)} cannot be read as a picture ({error}): it is damaged or of another format. "
                "Restore it, or take it out of the data set."
            ) from error


def check_pictures(paths: Sequence[Path], source: str, *, progress: bool = True) -> None:
    """Decode each picture once, on all cores, with a progress bar.

    Parameters
    ----------
    paths : sequence of Path
    source : str
        What they are of, for the message.
    progress : bool

    Raises
    ------
    ValueError
        When some cannot be read: how many, and the paths.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets go of Python's lock
        all_of = pool.map(_damage, paths)
        bar = progress_bar(all_of, desc="pictures", total=len(paths), progress=progress, unit="picture")
        damaged = [said for said in bar if said]
    if damaged:
        more = f"\n  and {len(damaged) - SHOWN} more" if len(damaged) > SHOWN else ""
        listed = "".join(f"\n  {said}" for said in damaged[:SHOWN])
        raise ValueError(
            f"{source}: {len(damaged)} of {len(paths)} pictures cannot be read; restore them, or take them out:"
            f"{listed}{more}"
        )


def _damage(path: Path) -> str | None:
    """Return the path of a damaged picture and what is wrong with it."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (64, 64))  # a JPEG is read to its end all the same, in less time
            picture.load()
    except Exception as error:  # PIL raises nearly any for broken files
        return f"{whole(path)} ({error})"
    return None
