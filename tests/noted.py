"""Calls that would be noticed: what the tests' pickles name is harmless to any reader, also where it is called."""

from __future__ import annotations

from collections.abc import Callable

CALLED: list[tuple] = []


def noted(*args: object) -> tuple:
    """Note the call, and do nothing else."""
    CALLED.append(args)
    return args


class Noted:
    """A class whose making, and whose state, would be noticed."""

    def __init__(self, *args: object) -> None:
        noted(*args)

    def __setstate__(self, state: object) -> None:
        noted(state)


class Call:
    """Pickled as a call, of `noted` when nothing else is given."""

    def __init__(self, function: Callable = noted, *args: object, state: object = None) -> None:
        self.function, self.args, self.state = function, args, state

    def __reduce__(self) -> tuple:
        return (self.function, self.args) if self.state is None else (self.function, self.args, self.state)

    def __call__(self) -> None:
        """Pass as a function when the result of one call is to be called."""
