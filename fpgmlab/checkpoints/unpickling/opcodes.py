"""A look at a pickle's instructions before they are followed: some take the process down, whatever the names mean."""

from __future__ import annotations

import pickletools

from fpgmlab.checkpoints.unpickling.limits import USUAL, Limits

_LOOKS_UP = ("GET", "BINGET", "LONG_BINGET")
_NUMBERS = ("PUT", "BINPUT", "LONG_BINPUT")
_MAKES_HASHABLE = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")


def check_opcodes(content: bytes, limits: Limits = USUAL) -> None:
    """Raise ValueError for extension codes, a memory that is too large, and tuples too deep or too many to be keys.

    Follows the stack of the pickle machine; of each object it knows how many tuples it holds, those in tuples too.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[object, int] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name.startswith("EXT"):  # these bypass find_class
            raise ValueError("its pickle uses extension codes, whose meaning depends on the process that reads them")
        if opcode.name in _NUMBERS:
            if argument is None or argument > count:  # the machine would reserve the memory
                raise ValueError(f"its pickle numbers an object {argument}, though there are not as many")
            memo[argument] = stack[-1]
        elif opcode.name == "MARK":
            marks.append(len(stack))
        elif opcode.name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            taken = _take(opcode, stack, marks)
            if opcode.name == "MEMOIZE":
                memo[len(memo)] = taken[0]
            stack.extend(_left(opcode.name, taken, memo.get(argument, 0), limits) or [0] * len(opcode.stack_after))


def _take(opcode: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """Take off the stack what an instruction consumes: a fixed number of objects, and those since the last mark."""
    fixed = len(opcode.stack_before)
    start = len(stack)
    if pickletools.markobject in opcode.stack_before:
        fixed = opcode.stack_before.index(pickletools.markobject)
        start = marks.pop()
    start -= fixed
    taken = stack[start:]
    del stack[start:]
    return taken


def _left(name: str, taken: list[int], looked_up: int, limits: Limits) -> list[int]:
    """Return what an instruction leaves on the stack; nothing when it is no tuple, whatever it is."""
    if name in _MAKES_HASHABLE:
        held = 1 + sum(taken)
        if held > limits.tuples:
            raise ValueError(
                f"its pickle has more than {limits.tuples:,} tuples within a tuple; no checkpoint needs that"
            )
        return [held]
    if name in _LOOKS_UP:
        return [looked_up]
    return {"DUP": taken * 2, "MEMOIZE": taken}.get(name, [])
