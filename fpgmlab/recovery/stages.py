"""What the stages of one network's way say: from its numbers, whatever network and data they are of."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from fpgmlab.common.numbers import counted, whole_number

WEAK = 0.2  # of a share such as accuracy: a network that reaches less is hardly trained
FEW = 50  # examples; with fewer, one of them is more than two points
_SEEN = 0.0005  # of a share: a smaller difference is not written


def tell_stages(values: Mapping[str, float], samples: int, *, metric: str = "accuracy", macs: float = 1.0) -> str:
    """Say in words what was lost and won on the way from an unpruned network, and what speaks against trusting it.

    Notes follow where a step ended below the one before it (after the first cut), where the unpruned network finds so
    little that plan, repair and teacher have little to go by, and where few examples judge. None of them is a test:
    a difference that is noted may be chance.

    Parameters
    ----------
    values : mapping of str to float
        The metric at each stage, a share of which more is better: the unpruned network first, then as cut, and so on.
    samples : int
        How many examples it was measured on.
    metric : str
        Its name.
    macs : float
        The share of the MACs that remains.

    Returns
    -------
    str
        A line with all stages, and one for each note.

    Raises
    ------
    ValueError
        Without any stage, and for a value or a share of MACs out of range, such as a percentage.

    Examples
    --------
    >>> print(fl.recovery.tell_stages({"unpruned": 0.94, "as cut": 0.31, "repaired": 0.93}, 5000, macs=0.5))
    accuracy on 5,000 pictures: unpruned 94.0%, as cut 31.0%, repaired 93.0%; 50% of the MACs gone, 1.00 points lost
    """
    count, kept = whole_number("samples", samples), dict(values)
    if not kept:
        raise ValueError("values must have the unpruned network and then each stage; got none")
    for name, value in (kept | {"macs": macs}).items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name!r} must be a share between 0 and 1; got {value!r}")
    first, last = next(iter(kept.values())), next(reversed(kept.values()))
    line = f"{metric} on {counted(count, 'picture')}: " + ", ".join(f"{name} {v:.1%}" for name, v in kept.items())
    if len(kept) > 1:
        change = f"{100 * abs(first - last):.2f} points {'lost' if last <= first else 'won'}"
        line += f"; {1 - macs:.0%} of the MACs gone, {change}"
    return "\n".join([line, *(f"Note: {note}" for note in _notes(kept, count))])


def _notes(values: Mapping[str, float], count: int) -> list[str]:
    notes = []
    first, *later = values.items()
    if first[1] < WEAK:
        notes.append(
            f"{first[0]} is only {first[1]:.1%}: what is measured against so weak a network tells little, and a repair "
            "or a teacher can give back no more than that. Train it further before you prune it."
        )
    for (before, start), (after, end) in pairwise(later):
        if start - end > _SEEN:
            notes.append(
                f"{after} ended {100 * (start - end):.1f} points below {before}: that step did not help here. Go on "
                f"with the network before it, or give the step more to learn from: more pictures, a smaller learning "
                "rate, more epochs."
            )
    if count < FEW:
        notes.append(
            f"{counted(count, 'picture')} to judge by: differences of several points between networks may be chance. "
            "Validate on more."
        )
    return notes
