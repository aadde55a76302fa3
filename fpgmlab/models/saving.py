"""Models on disk: one safetensors file with the weights, the architecture's recipe and the plans it was pruned by."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fpgmlab.checkpoints.weights import read_weights, write_weights
from fpgmlab.common.attributes import match_attributes
from fpgmlab.common.files import as_path, whole
from fpgmlab.common.given import check_model
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import forget_caches, named_tensors, split_name
from fpgmlab.models.zoo import build
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.provenance import Provenance, file_provenance, set_provenance


def save(model: nn.Module, path: str | os.PathLike[str], notes: Mapping[str, Any] | None = None) -> None:
    """Write a model, pruned or not, to one safetensors file.

    Parameters
    ----------
    model : nn.Module
    path : path-like
        Written whole or not at all.
    notes : mapping, optional
        Anything that JSON can hold, such as figures and the training recipe; kept in the file's record.

    Raises
    ------
    OSError
        When the folder cannot be written.
    TypeError
        For what is no network, and when the model keeps state that neither a tensor nor JSON can hold, with the
        module's name.
    ValueError
        For a path that ends as torch's own files do, .pt or .pth.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fl.save(fl.prune(graph, plan), f"{folder}/pruned.safetensors")
    ...     again = fl.load(f"{folder}/pruned.safetensors")
    >>> fl.provenance(again).plans == (plan,)
    True
    """
    check_model(model, "fl.save(model, path)")
    if (file := as_path(path)).suffix.lower() in (".pt", ".pth"):
        raise ValueError(
            f"fl.save writes safetensors, which torch.load cannot read, so no {file.suffix} file; got {str(path)!r}. "
            f"Give {str(file.with_suffix('.safetensors'))!r}, and read it with fl.load"
        )
    record = file_provenance(model)
    tensors, extra = _state(model)
    unsaved = {name: model.get_buffer(name) for name in record.buffers}
    write_weights(
        path,
        tensors | unsaved,
        {
            "architecture": record.architecture,
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "options": dict(record.options),
            "plans": [json.loads(plan.to_json()) for plan in record.plans],
            "notes": dict(notes or {}),
            **({"numbers": dict(record.numbers)} if record.numbers else {}),
            **({"buffers": list(unsaved)} if unsaved else {}),
            **({"extra_state": extra} if extra else {}),
            **({"repaired": list(record.repaired)} if any(record.repaired) else {}),
        },
    )


def load(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Read a model that `save` wrote, in eval mode on the CPU, ready to use, train or prune again.

    Parameters
    ----------
    path : path-like
    model : nn.Module, optional
        For a network of your own: a fresh, unpruned instance. It is left as it is; the loaded model is a copy.

    Returns
    -------
    nn.Module
        With its provenance.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    TypeError
        For a ``model`` that is none, such as the function that makes it.
    ValueError
        For a pickle (refused unread), a truncated or foreign file, or weights that do not belong to the model.
    """
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(_no_network(model))
    if isinstance(path, str) and path.isidentifier() and not os.path.exists(path):
        raise FileNotFoundError(
            f"no file {whole(path)}. If that is a network's name: fl.models.load({path!r}) for one that ships, "
            f"fl.models.build({path!r}) for an architecture; for a network of torchvision's the file that fl.save "
            f"wrote, and model=torchvision.models.{path}(num_classes=...)"
        )
    weights = read_weights(path)
    record = weights.record
    if model is None:
        if record.get("architecture") is None:
            what = f"holds a {record['class']}" if record else "was not written by fpgmlab.save"
            raise ValueError(
                f"{str(path)!r} {what}: pass model=<a fresh instance of its class>, unpruned, to load it"
                + (", such as torchvision.models.resnet18(num_classes=...)" if "torchvision." in what else "")
            )
        loaded = build(record["architecture"], **record["options"])
    else:
        loaded = copy_of(model)
    extra = record.get("extra_state", {})
    keepers = _keepers(loaded)
    buffers = tuple(record.get("buffers", ()))
    wanted = {*_saved_tensors(loaded), *keepers, *buffers}
    held = {*weights.tensors, *extra}
    missing, foreign = sorted(wanted - held), sorted(held - wanted)
    if missing or foreign:
        raise ValueError(
            f"{str(path)!r} does not belong to {type(loaded).__name__}: it lacks {_some(missing)} "
            f"and has {_some(foreign)} that the model does not know"
        )
    _put(loaded, weights.tensors, str(path))
    for name, module in keepers.items():
        module.set_extra_state(extra[name] if name in extra else weights.tensors[name])
    try:
        plans = tuple(Plan.from_json(json.dumps(plan)) for plan in record.get("plans", []))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} has a damaged record of its plans: {error}") from error
    numbers = _renumber(loaded, record.get("numbers", {}), str(path))
    repaired = tuple(record.get("repaired", [False] * len(plans)))
    made = Provenance(record.get("architecture"), record.get("options", {}), plans, numbers, repaired, buffers)
    set_provenance(loaded, made)
    forget_caches(loaded)
    return loaded.eval()


def _no_network(given: object) -> str:
    """Return what to give in place of a model that is none: as a rule what makes one was given, or its name."""
    name = given if isinstance(given, str) else getattr(given, "__name__", None)
    hint = f": {name}(num_classes=...), called" if name is not None and name.isidentifier() else ""
    return f"model must be a fresh, unpruned network, an instance of nn.Module{hint}; got {given!r}"


def _saved_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers that a state dict holds; a shared tensor under its first name alone."""
    first_names = set(named_tensors(model).values())
    return {name: tensor for name, tensor in model.state_dict().items() if name in first_names}


def _keepers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that have state of another kind, by its name in a state dict."""
    own = {name: module for name, module in model.named_modules() if _keeps_more(module)}
    return {f"{name}._extra_state" if name else "_extra_state": module for name, module in own.items()}


def _keeps_more(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


def _state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all of a model's state: tensors by name, and what else JSON can hold."""
    tensors, plain = _saved_tensors(model), {}
    other_names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    other_names |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    keepers = _keepers(model)
    for name, value in model.state_dict().items():
        if name in other_names:
            continue
        if name in keepers and isinstance(value, Tensor):
            tensors[name] = value
        elif name in keepers and _is_json(value):
            plain[name] = value
        else:
            modules = {
                path: module for path, module in model.named_modules() if name.startswith(f"{path}." if path else "")
            }
            where, module = max(modules.items(), key=lambda item: len(item[0]))
            raise TypeError(
                f"{where!r} ({type(module).__name__}) keeps state that a safetensors file cannot hold: {name!r}, a "
                f"{type(value).__name__}. Give a get_extra_state that returns a tensor or what JSON can hold, or save "
                "the model before it is quantised."
            )
    return tensors, plain


def _is_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def _put(model: nn.Module, tensors: Mapping[str, Tensor], path: str) -> None:
    """Give a model the file's tensors, narrower where it was pruned."""
    names = named_tensors(model)
    made: dict[str, nn.Parameter] = {}  # a shared tensor stays shared
    for path_of, module in model.named_modules():
        changed = False
        for slots in (module._parameters, module._buffers):
            for key, old in slots.items():
                new = None if old is None else tensors.get(names[id(old)])
                if new is None:
                    continue
                if new.ndim != old.ndim or any(n > o for n, o in zip(new.shape, old.shape, strict=True)):
                    raise ValueError(
                        f"{path!r}: {f'{path_of}.{key}'.lstrip('.')!r} is {tuple(new.shape)} in the file and "
                        f"{tuple(old.shape)} in {type(model).__name__}; only a smaller, pruned tensor would fit"
                    )
                changed |= new.shape != old.shape
                if slots is module._parameters:
                    new = made.setdefault(names[id(old)], nn.Parameter(new, requires_grad=old.requires_grad))
                slots[key] = new
        if changed:
            match_attributes(module)


def _renumber(model: nn.Module, numbers: Mapping[str, Any], path: str) -> dict[str, int | tuple[int, ...]]:
    """Write the numbers of channels that surgery once wrote into attributes, and return them."""
    modules = dict(model.named_modules())
    written: dict[str, int | tuple[int, ...]] = {}
    for name, value in numbers.items():
        place, key = split_name(name)
        old = vars(modules[place]).get(key) if place in modules else None
        if type(old) is int and type(value) is int:
            written[name] = value
        elif isinstance(old, list) and isinstance(value, list) and len(old) == len(value):
            old[:], written[name] = value, tuple(value)
            continue
        elif isinstance(old, tuple) and isinstance(value, list) and len(old) == len(value):
            written[name] = type(old)(value)
        else:
            raise ValueError(
                f"{path!r} does not belong to {type(model).__name__}: the attribute {name!r} should become {value!r}; "
                f"it is {old!r}"
            )
        object.__setattr__(modules[place], key, written[name])
    return written


def _some(names: list[str]) -> str:
    return f"{len(names)} tensors ({', '.join(names[:3])}, ...)" if len(names) > 3 else ", ".join(names) or "nothing"
