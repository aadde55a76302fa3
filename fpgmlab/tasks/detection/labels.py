"""Lines of label files in YOLO's layout: a box, a box with keypoints, a polygon or the corners of an oriented box.

``class x y width height`` is a box, centre and size as shares of the picture. With the shape of the keypoints, which
``data.yaml`` has to tell, their numbers may follow; they are nothing to detect. Else a longer line is the class and
the corners of a polygon, of which the enclosing box is taken; an oriented box is one of four corners.
"""

from __future__ import annotations

from collections.abc import Sequence

from fpgmlab.tasks.detection.pictures import Box

FURTHEST = 1.5  # of a coordinate; what is a little beyond the picture is clipped, more is no share of it
ROUNDED = 0.01  # so far beyond the picture may rounding bring the side of a box
FLAT = 1e-5  # what rounding makes of a right-angled corner of a box without height


class Labels:
    """Reads lines, and notes whether all polygons might be boxes with keypoints that nobody has told of.

    Parameters
    ----------
    keypoints : (int, int), optional
        How many there are and of how many numbers each, 2 or 3; (0, 0) for none. When left out nobody has told.
    """

    def __init__(self, keypoints: tuple[int, int] | None = None) -> None:
        self._keypoints = keypoints
        self._lengths: set[int] = set()  # of the polygons' lines
        self._polygons, self._boxes, self._bent = 0, True, False

    def box(self, line: str, size: tuple[int, int], where: str) -> Box:
        """Return the box of a line.

        Parameters
        ----------
        line : str
        size : (int, int)
            Width and height of the picture in pixels.
        where : str
            File and line, for messages.

        Raises
        ------
        ValueError
            For a line of another kind, with what was expected.
        """
        what = f"{where}: {line!r}"
        try:
            label, *numbers = map(float, line.split())
        except ValueError as error:
            raise ValueError(f"{what} must be numbers with spaces between: class x y width height") from error
        polygon = self._is_polygon(label, numbers, what)
        coordinates = numbers if polygon else numbers[:4]
        if max(coordinates) > FURTHEST:
            hint = f". {_advice(len(numbers))}" if polygon else ""
            raise ValueError(
                f"{what} looks like pixels{' or keypoints' if polygon else ''}; coordinates must be shares "
                f"of the picture, 0 to 1{hint}"
            )
        if polygon:
            self._note(numbers)
            xs, ys = numbers[::2], numbers[1::2]
            left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
        else:
            left, top, right, bottom = _sides(numbers)
        return Box(int(label), (left * size[0], top * size[1], right * size[0], bottom * size[1]), where)

    def doubt(self) -> str | None:
        """Return in words why the polygons so far are perhaps none; None without a reason to think so.

        Lines of boxes with keypoints are of one length, and each box lies in its picture; the first corners of
        polygons all over a picture, taken for centre and size, make boxes that do not. Four corners are an oriented
        box as a rule, which is convex.
        """
        if len(self._lengths) != 1 or not self._boxes:
            return None
        (length,) = self._lengths
        if length == 8 and not self._bent:
            return None
        many = f"all {self._polygons} polygons have" if self._polygons > 1 else "the only polygon has"
        return (
            f"{many} {length // 2} corners, and their numbers could as well be a box and keypoints; they were read as "
            f"polygons. {_advice(length)}, and if they are polygons kpt_shape: [0, 0]"
        )

    def _is_polygon(self, label: float, numbers: Sequence[float], what: str) -> bool:
        """Return whether the numbers after the class are a polygon, not a box; ValueError when they are neither."""
        length = len(numbers)
        count, each = self._keypoints or (0, 0)
        boxes = {4, 4 + count * each}
        polygon = not count and length >= 6 and length % 2 == 0
        if label.is_integer() and (length in boxes or polygon):
            return polygon
        if count:
            raise ValueError(
                f"{what} must be a whole class number and x y width height, with or without {count} keypoints of "
                f"{each} numbers each, as kpt_shape in data.yaml says: 5 or {5 + count * each} columns; it has "
                f"{1 + length}"
            )
        hint = ""
        if length == 5:
            hint = ", a confidence too? Or an angle: an oriented box must be given by its four corners"
        elif length > 5 and length % 2:
            hint = f". {_advice(length)}" if _shapes(length) else ", a confidence too?"
        raise ValueError(
            f"{what} must be a whole class number and x y width height, or a polygon of at least 3 corners; it has "
            f"{1 + length} columns{hint}"
        )

    def _note(self, numbers: Sequence[float]) -> None:
        """Note what the numbers of a polygon could be besides."""
        self._polygons += 1
        self._lengths.add(len(numbers))
        if self._keypoints is not None or len(self._lengths) > 1 or not self._boxes:
            self._boxes = False
            return
        left, top, right, bottom = _sides(numbers)
        inside = -ROUNDED <= left < right <= 1 + ROUNDED and -ROUNDED <= top < bottom <= 1 + ROUNDED
        self._boxes = inside and numbers[:2] != numbers[-2:]  # a polygon may end where it began
        self._bent = self._bent or not _convex(numbers)


def _sides(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of centre x, centre y, width, height."""
    x, y, width, height = numbers[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _convex(numbers: Sequence[float]) -> bool:
    """Return whether a polygon turns the same way at all of its corners."""
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    steps = [(x - a, y - b) for (a, b), (x, y) in zip(points, [*points[1:], points[0]], strict=True)]
    turns = [a * y - b * x for (a, b), (x, y) in zip(steps, [*steps[1:], steps[0]], strict=True)]
    return max(turns) <= FLAT or min(turns) >= -FLAT


def _shapes(length: int) -> list[list[int]]:
    """Return the shapes that keypoints can have where so many numbers are those of a box and theirs."""
    return [[(length - 4) // each, each] for each in (2, 3) if (length - 4) % each == 0]


def _advice(length: int) -> str:
    shapes = " or ".join(f"kpt_shape: {shape}" for shape in _shapes(length))
    return f"If they are keypoints, data.yaml must say so: {shapes}"
