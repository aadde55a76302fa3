"""Whether a model's own code could calculate with a number of channels in a way that no label shows.

``1.0 / x.shape[1]`` and ``x * self.conv.out_channels**-0.5`` hand plain numbers around. Nothing here follows them:
where code asks for such a number at all, the graph is held against really cut networks (`fpgmlab.surgery.probing`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, FrameType, FunctionType

from torch import nn

from fpgmlab.graph.tracing.labels import words

# A layer's own record of its width, which a cut changes.
RECORDS = words(
    """in_channels out_channels in_features out_features num_features num_channels num_parameters normalized_shape
    groups"""
)


def asked_by_model() -> bool:
    """Tell whether the torch function that is being traced was called by code outside of torch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("fpgmlab.graph.tracing", "torch.overrides", "torch.utils", "torch._tensor")):
            return not name.startswith("torch.")
        frame = frame.f_back
    return False


def reads_records(model: nn.Module) -> bool:
    """Tell whether the code of a model's forward pass names a layer's own record of its width.

    Looked at are the functions that forward passes of modules outside of torch reach by name: methods, functions kept
    in attributes, functions of the same file.
    """
    seen: set[CodeType] = set()
    kinds: set[type] = set()
    for module in model.modules():
        kept: list[object] = [*vars(module).values()]
        kept += [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if type(module) not in kinds:
            kinds.add(type(module))
            kept.append(getattr(type(module), "forward", None))
        if any(_reads(each, type(module), seen) for each in _foreign(kept)):
            return True
    return False


def _foreign(values: Iterable[object]) -> Iterator[FunctionType]:
    """Yield the functions among some values that are neither torch's nor ours."""
    for value in values:
        if isinstance(value, FunctionType) and not (value.__module__ or "").startswith(("torch.", "fpgmlab.")):
            yield value


def _reads(function: FunctionType, kind: type, seen: set[CodeType]) -> bool:
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if code in seen:
            continue
        seen.add(code)
        if RECORDS & {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}:
            return True
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
        codes += [other.__code__ for other in _foreign(_named(code, function, kind))]
    return False


def _named(code: CodeType, function: FunctionType, kind: type) -> Iterator[object]:
    for name in code.co_names:
        found = getattr(kind, name, None)
        yield found.fget if isinstance(found, property) else found
        yield function.__globals__.get(name)
    yield from function.__defaults__ or ()
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # not filled yet
            yield cell.cell_contents
