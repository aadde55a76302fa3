"""How much a checkpoint may ask of the process that reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a file may hold; beyond that it is refused, with the limit in the message.

    No network comes near these numbers. They are here because a file of a few bytes can describe something that takes
    all memory, all stack or years to build, within calls in C that cannot be stopped.

    Attributes
    ----------
    tuples : int
        Tuples and frozen sets within one, each counted as often as it is reached. The hash of a tuple goes through
        all of them, however few the file wrote down, and each level takes stack: both grow before anybody can look.
    numbers : int
        Every size, stride and offset of a tensor, and its number of numbers, is below this: torch counts in 64 bits
        with a sign, and what does not fit there would wrap around to something small that passes for sound.
    unpacked : float
        Bytes that the members of the zip archive say they have, for each byte of the file. torch.save stores without
        compression, so that 1 is the most an honest file can have; a packed one could fill the memory.
    levels : int
        Modules within modules. The walk through them is recursive, and a module in a file may contain itself.
    modules : int
        Modules in all, each counted as often as it is reached: one that stands in two places of each of many levels
        is few in the file and very many to walk through.
    """

    tuples: int = 10_000
    numbers: int = 2**63
    unpacked: float = 1.0
    levels: int = 100
    modules: int = 100_000


USUAL = Limits()
