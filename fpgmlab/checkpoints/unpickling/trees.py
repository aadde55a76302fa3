"""State dicts out of modules that were read as records."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fpgmlab.checkpoints.unpickling.inert import Record
from fpgmlab.checkpoints.unpickling.limits import USUAL, Limits


def tensors_of(tree: object) -> dict[str, Tensor]:
    """Return the state dict of a module that was read as a tree of records, or a dict of tensors as it is.

    Parameters
    ----------
    tree : Record or dict
        A pickled ``torch.nn.Module`` as `fpgmlab.checkpoints.read_checkpoint` gives it, or a state dict.

    Raises
    ------
    ValueError
        When it is neither, or a module contains itself.
    """
    return tensors_within(tree, USUAL)


def tensors_within(tree: object, limits: Limits) -> dict[str, Tensor]:
    """Return what `tensors_of` does, with other limits."""
    if isinstance(tree, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tree.items()):
        return tree
    return dict(_walk(tree, "", limits.levels, iter(range(limits.modules))))


def _walk(module: object, prefix: str, levels: int, budget: Iterator[int]) -> Iterator[tuple[str, Tensor]]:
    state = module.state if isinstance(module, Record) and isinstance(module.state, dict) else {}
    keys = ("_parameters", "_buffers", "_modules")
    tables = [table for key in keys if isinstance(table := state.get(key), dict)]
    if len(tables) < len(keys):
        found = f"a dict with keys {list(module)[:8]}" if isinstance(module, dict) else _kind(module)
        where = repr(prefix.removesuffix(".")) if prefix else "it"
        raise ValueError(f"{where} is {found}; expected a torch module, or a dict of tensors")
    if levels < 0 or next(budget, None) is None:
        raise ValueError(f"{prefix[:40]!r} contains itself, or very many levels: not the tree of a network")
    parameters, buffers, modules = tables
    hidden = state.get("_non_persistent_buffers_set")
    kept = {name: buffer for name, buffer in buffers.items() if not (isinstance(hidden, set) and name in hidden)}
    for name, tensor in (*parameters.items(), *kept.items()):
        if isinstance(tensor, Tensor):
            yield f"{prefix}{name}", tensor
        elif tensor is not None:
            raise ValueError(f"{f'{prefix}{name}'!r} is {_kind(tensor)}; expected a tensor")
    for name, child in modules.items():
        if child is not None:
            yield from _walk(child, f"{prefix}{name}.", levels - 1, budget)


def _kind(found: object) -> str:
    return f"an object of {found.cls}" if isinstance(found, Record) else f"of type {type(found).__name__}"
