"""Plain convolutions of a network replaced by efficient ones, to be trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from fpgmlab.common.calling import call
from fpgmlab.common.holdings import copy_of
from fpgmlab.common.modules import eval_mode, tensors_in
from fpgmlab.common.numbers import whole_number
from fpgmlab.errors import one_of, unknown
from fpgmlab.models.convolutions import KINDS, DepthwiseSeparable, ShuffledGrouped, kernel_of
from fpgmlab.models.nearest import make_nearest
from fpgmlab.models.placing import Recipe, put_convolutions
from fpgmlab.models.zoo import build
from fpgmlab.plans.provenance import Provenance, file_provenance, set_provenance

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS = ("new", "nearest")
_PICTURE = 4  # channels: a layer that reads no more reads the picture, and stays plain unless it is named


def replace_convolutions(
    model: nn.Module,
    *,
    kind: str = "depthwise_separable",
    where: str | Sequence[str] | None = None,
    groups: int = 4,
    dilation: int = 2,
    weights: Literal["new", "nearest"] = "new",
) -> nn.Module:
    """Return a copy of a network with efficient convolutions in the place of plain ones, to be trained again.

    Plain ones have a kernel larger than 1x1, one group and no dilation. What a layer takes and gives stays as it was:
    channels, stride, size, bias.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    kind : {"depthwise_separable", "grouped", "shuffled", "dilated"}
        See `fpgmlab.models.convolutions`.
    where : str or sequence of str, optional
        Names of convolutions, and of modules of which all plain convolutions are meant; when left out, all of the
        network but those that read a picture, of at most 4 channels.
    groups : int
        Of grouped and shuffled ones.
    dilation : int
        Of dilated ones.
    weights : {"new", "nearest"}
        Drawn at random, or those whose kernel is nearest to the old one in squared distance: by singular values for
        depthwise-separable ones (`fpgmlab.models.nearest.rank_one`); of grouped ones those weights that are still
        there; of dilated ones all.

    Returns
    -------
    nn.Module
        One that was built by `fpgmlab.models` is saved and loaded as before; your own is loaded with ``model=`` a fresh
        one, replaced in the same way.

    Raises
    ------
    ValueError
        For another kind, an unknown name, a named convolution that is not plain, one that cannot be of that kind (by
        name), and when there is none to replace.
    """
    kinds = [known for known in KINDS if known != "plain"]
    if kind not in kinds:
        raise ValueError(one_of("kind", kind, kinds))
    if weights not in WEIGHTS:
        raise ValueError(one_of("weights", weights, WEIGHTS))
    recipe: Recipe = {"kind": kind}
    if kind == "dilated":
        recipe["dilation"] = dilation
    elif kind != "depthwise_separable":
        recipe["groups"] = groups
    for name, value in (("groups", groups), ("dilation", dilation)):
        whole_number(name, value, least=2)
    made = copy_of(model)
    recipes = {name: recipe for name in _chosen(made, where)}
    put_convolutions(made, recipes)
    if weights == "nearest":
        for name in recipes:
            old = model.get_submodule(name)
            assert isinstance(old, nn.Conv2d)
            make_nearest(made.get_submodule(name), old)
    set_provenance(made, _record(file_provenance(model), recipes))
    return made


def replacements(before: nn.Module, after: nn.Module, example_input: object) -> pd.DataFrame:
    """Return which convolutions were replaced, and what each had and has.

    Parameters
    ----------
    before, after : nn.Module
        The network that `replace_convolutions` was given, and what it returned, not pruned since.
    example_input : Tensor or structure of them
        To count MACs with.

    Returns
    -------
    pandas.DataFrame
        layer, kind, inputs, outputs, kernel (such as "3x3"), params_before, params, macs_before, macs (of one example)
        and kept: which share of the old kernel's sum of squares the new one gives, 1 for the same kernel; NaN for
        dilated ones, whose kernel lies elsewhere.

    Examples
    --------
    >>> lighter = fl.replace_convolutions(model, kind="depthwise_separable")
    >>> table = fl.replacements(model, lighter, task.example_input)
    >>> bool(table["macs"].sum() < 0.2 * table["macs_before"].sum())
    True
    """
    import pandas as pd

    old, new = dict(before.named_modules()), dict(after.named_modules())
    names = [name for name, module in old.items() if name in new and "plain" == _kind(module) != _kind(new[name])]
    macs_before, macs = (_macs(model, names, example_input) for model in (before, after))
    rows = []
    for name in names:
        wanted, given = kernel_of(old[name]).detach(), kernel_of(new[name]).detach()
        away = (given - wanted).square().sum() / wanted.square().sum()
        rows.append(
            {
                **{"layer": name, "kind": _kind(new[name]), "inputs": wanted.shape[1], "outputs": wanted.shape[0]},
                "kernel": f"{wanted.shape[2]}x{wanted.shape[3]}",
                "params_before": sum(p.numel() for p in old[name].parameters()),
                "params": sum(p.numel() for p in new[name].parameters()),
                **{"macs_before": macs_before[name], "macs": macs[name]},
                "kept": float("nan") if _kind(new[name]) == "dilated" else 1 - float(away),
            }
        )
    columns = ["layer", "kind", "inputs", "outputs", "kernel", "params_before", "params", "macs_before", "macs", "kept"]
    return pd.DataFrame(rows, columns=columns)


def _chosen(model: nn.Module, where: str | Sequence[str] | None) -> list[str]:
    """Return the names of the convolutions that are meant, all of them plain."""
    modules = dict(model.named_modules())
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            holders.setdefault(id(parameter), []).append(name)
    convs = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    reasons = {name: _unfit(conv, holders.get(id(conv.weight), [])) for name, conv in convs.items()}
    if where is None:
        found = [name for name in convs if reasons[name] is None and convs[name].in_channels > _PICTURE]
    else:
        found = []
        for asked in [where] if isinstance(where, str) else where:
            if asked not in modules:
                raise ValueError(unknown("module", asked, modules))
            if reasons.get(asked) is not None:
                raise ValueError(f"{asked!r} cannot be replaced: {reasons[asked]}")
            inside = [name for name in convs if asked in ("", name) or name.startswith(f"{asked}.")]
            found += [name for name in inside if reasons[name] is None and name not in found]
    if not found:
        told = [f"{name!r}: {reason}" for name, reason in reasons.items() if reason is not None]
        raise ValueError(f"there is no convolution to replace. {'; '.join(told[:3]) or 'Those there read a picture.'}")
    return found


def _unfit(conv: nn.Conv2d, holders: Sequence[str]) -> str | None:
    """Return why a convolution is not plain, or not its own; None when it can be replaced."""
    if type(conv) is not nn.Conv2d:
        return f"it is a {type(conv).__name__}, and may do more than a Conv2d"
    if max(conv.kernel_size) == 1:
        return "its kernel is 1x1"
    if _kind(conv) != "plain":
        return f"it is {_kind(conv)} already"
    return f"it shares its weight: {', '.join(map(repr, holders))}" if len(holders) > 1 else None


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, DepthwiseSeparable):
        return "depthwise_separable"
    if isinstance(module, ShuffledGrouped):
        return "shuffled"
    if not isinstance(module, nn.Conv2d):
        return None
    return "grouped" if module.groups > 1 else "dilated" if max(module.dilation) > 1 else "plain"


def _record(before: Provenance, recipes: dict[str, Recipe]) -> Provenance:
    """Return the record of a network with such convolutions; without an architecture where it could not be built."""
    if before.architecture is None:
        return before
    options = {**before.options, "convolutions": {**before.options.get("convolutions", {}), **recipes}}
    record = replace(before, options=options)
    if before.plans:  # groups may divide what is left of a layer, and not all of it
        try:
            build(before.architecture, **options)
        except ValueError:
            return replace(before, architecture=None, options={})
    return record


def _macs(model: nn.Module, names: Sequence[str], example_input: object) -> dict[str, int]:
    """Return the MACs of one example within each of the modules."""
    counted = dict.fromkeys(names, 0)
    batch = len(next(tensors_in(example_input)))
    handles = []
    for name in names:

        def count(module: nn.Module, _: object, output: Tensor, name: str = name) -> None:
            assert isinstance(module, nn.Conv2d)
            counted[name] += output.numel() * module.weight[0].numel() // batch

        parts = [part for part in model.get_submodule(name).modules() if isinstance(part, nn.Conv2d)]
        handles += [part.register_forward_hook(count) for part in parts]
    try:
        with torch.no_grad(), eval_mode(model):
            call(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return counted
