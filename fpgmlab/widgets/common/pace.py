"""How fast work goes, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_WINDOW = 9  # batches from which the speed is taken: with a tolerance points end, and batches get quicker


@dataclass
class Pace:
    """How fast a sweep goes, from its last batches."""

    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW))  # time, work done

    def note(self, now: float, done: float) -> None:
        """Take down how much was done at a time, in seconds."""
        self.marks.append((now, done))

    def seconds_left(self, now: float, left: float) -> float | None:
        """Return how long the rest will take, counted from now; None until that can be told."""
        speed = self._speed()
        return None if speed is None else max(0.0, left / speed - (now - self.marks[-1][0]))

    def ahead(self, now: float) -> float:
        """Return how much the batch under way has probably done, at most as much as the last one did."""
        speed = self._speed()
        if speed is None:
            return 0.0
        (_, before), (end, after) = self.marks[-2], self.marks[-1]
        return min(speed * (now - end), after - before)

    def _speed(self) -> float | None:
        if len(self.marks) < 2:
            return None
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / (end - start) if after > before and end > start else None


def duration(seconds: float) -> str:
    """Return a time as people say it, not more exact than it is known.

    >>> [duration(s) for s in (0.4, 7, 43, 100, 3500, 5000)]
    ['a moment', 'about 7 s', 'about 45 s', 'about 2 min', 'about 1 h', 'about 1 h 25 min']
    """
    if seconds < 1.5:
        return "a moment"
    if seconds < 9.5:
        return f"about {seconds:.0f} s"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s"
    minutes = max(1, round(seconds / 60)) if seconds < 600 else 5 * round(seconds / 300)
    if minutes < 60:
        return f"about {minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"about {hours} h" + (f" {rest} min" if rest else "")
