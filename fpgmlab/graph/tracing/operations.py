"""The name of a torch function, by which rules are found; a function that only shares a name has none of them."""

from __future__ import annotations

from collections.abc import Callable

_LIBRARIES = ("aten", "prims", "torchvision")  # of operators whose names mean what they say


def operation_name(func: Callable) -> str:
    """Return the name of a torch function without underscores; with its module when it is somebody else's.

    Parameters
    ----------
    func : callable
        As a mode is given it: torch's, or another package's that lets torch functions be overridden.
    """
    name = getattr(func, "__name__", str(func)).strip("_")
    if name == "get":  # a property such as x.T, x.shape, x.data
        return getattr(getattr(func, "__self__", None), "__name__", name)
    if name == "set":
        return "a property's change"
    module = getattr(func, "__module__", None) or "torch"  # what is written in C says none
    if module.startswith("torch._ops."):
        library = module.removeprefix("torch._ops.").partition(".")[0]
        return name if library in _LIBRARIES else f"{library}::{name}"
    return name if module.partition(".")[0] == "torch" else f"{module}.{name}"
