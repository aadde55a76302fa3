"""Tracing: forward passes in which every channel carries a number (see `fpgmlab.graph.tracing.labels`).

They run the model's own code, so any control flow, in-place operation or reuse of a layer is seen as it happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from fpgmlab.common.calling import call, left_as_it_is
from fpgmlab.common.modules import eval_mode, forget_caches, tensors_in
from fpgmlab.common.warned import warn
from fpgmlab.graph.layer_rule import LayerRule
from fpgmlab.graph.tracing.label_mode import LabelMode
from fpgmlab.graph.tracing.marking import mark_attributes
from fpgmlab.graph.tracing.recorder import TracingError
from fpgmlab.graph.tracing.ruled import NO_RULES, Rules, ruled_modules, take_whole, within
from fpgmlab.graph.tracing.suspicion import reads_records
from fpgmlab.graph.tracing.trace import Trace


def trace_labels(model: nn.Module, example_input: object, rules: Rules = NO_RULES) -> Trace:
    """Run a model once in eval mode and record which channels belong together.

    When some of its layers do not run there, it runs once more in training mode: a head for training alone must still
    fit. Costs are those of evaluation.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    example_input : Tensor, list, tuple or dict
        What the model is called with: one tensor or list (of pictures), positional or keyword arguments.
    rules : mapping of classes to LayerRule
        Modules of these classes are taken as a whole.

    Raises
    ------
    TracingError
        When the forward pass fails, or its outputs come from code that cannot be seen; with the module's name.
    """
    lazy = [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if is_lazy(tensor)]
    if lazy:
        raise TracingError(
            f"{type(model).__name__} has no weights yet ({lazy[0]!r} is lazy): run it once, then trace it."
        )
    ruled = ruled_modules(model, rules)
    mode = _traced(model, example_input, {}, ruled)
    if mode.to.own.turned:  # tables whose channels are not where they mostly are
        mode = _traced(model, example_input, mode.to.own.turned, ruled)
    # What a user says of a layer is tried as well.
    mode.to.trace.suspect = mode.to.trace.suspect or bool(ruled) or reads_records(model)
    return mode.to.trace


def _traced(
    model: nn.Module, example_input: object, dims: Mapping[str, int], ruled: Mapping[str, LayerRule]
) -> LabelMode:
    """Return the mode that has seen a model run; ``dims`` are those of its own tensors' channels, where known."""
    mode = LabelMode(model, _examples(example_input), dims)
    try:
        _trace(mode, model, example_input, ruled)
    except TracingError:
        raise
    except Exception:  # code may take plain numbers only: a table by numbers of channels, where no width is found
        mode = LabelMode(model, _examples(example_input), dims, as_numbers=True)
        _trace(mode, model, example_input, ruled)
    return mode


def _trace(mode: LabelMode, model: nn.Module, example_input: object, ruled: Mapping[str, LayerRule]) -> None:
    """Run a model under a mode that labels its channels."""
    with (
        closing(mode.to.held), left_as_it_is(model), eval_mode(model), torch.inference_mode(False), torch.enable_grad(),
        mode.to.running.watching(model), closing(mode.owner),
    ):  # fmt: skip
        forget_caches(model)
        before = {name: (p.data_ptr(), p._version) for name, p in model.named_parameters()}
        if not mode.owner.as_numbers:
            open_to_sight = {n: m for n, m in mode.to.modules.items() if not any(within(n, r) for r in ruled)}
            mark_attributes(open_to_sight, mode.owner)
        take_whole(mode, ruled)
        arguments = pytree.tree_map(mode.differentiable, example_input)
        try:
            _run(mode, model, arguments, "it is the model's output")
        except TracingError:
            raise
        except Exception as error:
            if not mode.owner.as_numbers:
                raise
            shapes = [tuple(tensor.shape) for tensor in tensors_in(example_input)]
            raise TracingError(
                f"{type(model).__name__} could not be traced: its forward pass with example_input {shapes} failed in "
                f"{mode.to.where}: {': '.join(filter(None, (type(error).__name__, str(error).rstrip('.'))))}. Pass an "
                f"example_input that the model takes, on the model's device.{_hint(model, example_input)}"
            ) from error
        written = mode.to.held.written()
        mode.to.trace.rewritten = [
            n for n, p in model.named_parameters() if n in written or (p.data_ptr(), p._version) != before[n]
        ]
        if idle := mode.to.idle():
            _run_training(mode, model, arguments, idle)
        mode.to.finish()


def _run(mode: LabelMode, model: nn.Module, arguments: object, reason: str) -> None:
    """Run a model on labelled arguments; its outputs are frozen for the reason given."""
    with mode.unseen, mode:
        outputs = call(model, arguments)
    for output in _outputs(outputs):
        mode.to.check_seen(output, "return")
        mode.to.freeze(mode.to.get(output), reason)
        mode.to.reduced.freeze_places(output, reason)


def _run_training(mode: LabelMode, model: nn.Module, arguments: object, idle: Sequence[str]) -> None:
    """Run a model in training mode, for what its layers that are idle in evaluation read."""
    mode.to.counting = False
    try:
        with eval_mode(model, training=True), torch.random.fork_rng(devices=[]):
            _run(mode, model, arguments, "it is the model's output in training")
    except Exception as error:
        warn(
            f"{len(idle)} layers of {type(model).__name__} do not run in evaluation ({', '.join(map(repr, idle[:3]))}"
            f"{', ...' if len(idle) > 3 else ''}), and in training mode it does not run with this example_input "
            f"({type(error).__name__}: {error}). Should they run in training, what they read must not be cut: trace "
            "with protect=[...] for the modules before them.",
        )
        mode.to.running.clear()
    still = set(mode.to.idle())
    mode.to.trace.training_only = tuple(name for name in idle if name not in still)


def _hint(model: nn.Module, example_input: object) -> str:
    """Return what to say where a dict may have been meant as one argument."""
    with suppress(TypeError, ValueError):  # some callables have no signature
        if isinstance(example_input, dict) and not set(example_input) <= set(signature(model.forward).parameters):
            return " A dict gives arguments by name; for a model that takes one dict, pass (the_dict,)."
    return ""


def _examples(example_input: object) -> int:
    """Return the number of examples; pictures in a list, as torchvision's detectors take them, have no batch."""
    items = tuple(example_input.values()) if isinstance(example_input, dict) else example_input
    for item in items if isinstance(items, tuple) else (items,):
        tensors = list(tensors_in(item))
        if isinstance(item, list) and tensors and all(tensor.ndim == 3 for tensor in tensors):
            return len(tensors)
        if batched := [tensor for tensor in tensors if tensor.ndim]:
            return len(batched[0])
    return 1


def _outputs(value: object) -> Iterator[Tensor]:
    """Yield a model's output tensors, also those in objects with slots."""
    yield from tensors_in(value)
    if not isinstance(value, (Tensor, dict, tuple, list)) and not hasattr(value, "__dict__"):
        yield from tensors_in([getattr(value, name, None) for name in getattr(type(value), "__slots__", ())])
