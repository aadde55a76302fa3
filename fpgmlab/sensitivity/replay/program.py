"""Run a recorded model again from where it was changed, and no operation that the change does not reach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from fpgmlab.sensitivity.replay.fusion import Chain, Folded, chains, converted, fold, operands
from fpgmlab.sensitivity.replay.kernels import Convolution, best_kernel
from fpgmlab.sensitivity.replay.recording import Recording

aten = torch.ops.aten
_VIEWS = frozenset({aten.view.default, aten._unsafe_view.default})


@dataclass(frozen=True)
class _Slot:
    index: int


@dataclass(frozen=True, eq=False)
class _Step:
    """One operation: what it reads and the one place that it writes."""

    call: Callable
    args: tuple
    kwargs: dict
    reads: tuple[int, ...]
    writes: int


@dataclass(frozen=True, eq=False)
class _Tail:
    """The steps that a change reaches.

    ``spent`` are the places that nothing reads any more after each, ``over`` the steps that may write over what they
    add.
    """

    steps: tuple[int, ...]
    spent: tuple[tuple[int, ...], ...]
    over: frozenset[int]


class Program:
    """The operations of a model as steps over numbered values.

    Batch norms are folded into the convolutions before them, sums and activations done in the convolutions' kernels.

    Parameters
    ----------
    recording : Recording
    dtype : torch.dtype
        Of the computation; weights and inputs are converted.
    watched : collection of tuples of str
        The sets of weights, by dotted name, that `run` will be asked to change.
    """

    def __init__(self, recording: Recording, dtype: torch.dtype, watched: Collection[tuple[str, ...]]) -> None:
        self._dtype, self._structure = dtype, recording.structure
        fused = chains(recording)
        self._values: list[Any] = []
        self._slots: dict[fx.Node, _Slot] = {}
        self._steps: list[_Step] = []
        # Steps by the weight that they are the only ones to read.
        self._convolutions: dict[str, dict[int, Folded]] = {}
        inner = {node for chain in fused.values() for node in chain.inner}
        for node in recording.graph.nodes:
            if node in fused:
                self._add_chain(recording, fused[node])
            elif node.op == "call_function" and node not in inner:
                self._add_node(recording, node)
        self._inputs = [self._slots.get(node) for node in recording.inputs]
        self._outputs = [self._place(recording, o) if isinstance(o, fx.Node) else o for o in recording.outputs]
        self._named = {recording.names[n]: slot for n, slot in self._slots.items() if n in recording.names}
        self._tails = {names: self._tail(names) for names in watched}
        self._kept = self._results().union(*map(self._needs, self._tails.values()))
        self._whole = self._with_ends(range(len(self._steps)), self._kept)

    def record(self, inputs: object) -> object:
        """Run everything and remember what the watched changes will need.

        Parameters
        ----------
        inputs : Tensor, tuple or dict
            Of the shape that was recorded.
        """
        leaves = [leaf for leaf in tree_flatten(inputs)[0] if isinstance(leaf, Tensor)]
        for slot, leaf in zip(self._inputs, leaves, strict=True):
            if slot is not None:
                self._values[slot.index] = self._converted(leaf)
        return self._execute(self._values, self._whole, {}, {})

    def run(
        self,
        names: tuple[str, ...],
        masks: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        refits: Mapping[str, tuple[Tensor, Tensor | None]] | None = None,
    ) -> object:
        """Return the outputs for the recorded inputs with some weights changed.

        Parameters
        ----------
        names : tuple of str
            One of ``watched``.
        masks : mapping of str to Tensor
            For convolutions, by the name of their weight: which input channels stay, (channels,) bool.
        weights : mapping of str to Tensor
            New values of tensors that are not such a convolution's.
        refits : mapping of str to (Tensor, Tensor or None), optional
            For convolutions, by the name of their weight: the weight in its place, and what is added to the output,
            (filters,).
        """
        values = self._values.copy()
        for name, weight in weights.items():
            place = self._named[name].index
            values[place] = self._converted(weight).to(values[place].dtype)
        inputs = {i: mask for name, mask in masks.items() for i in self._convolutions[name]}
        packed = {
            i: folded.packed(*refit)
            for name, refit in (refits or {}).items()
            for i, folded in self._convolutions[name].items()
        }
        return self._execute(values, self._tails[names], inputs, packed)

    def has_convolution(self, name: str) -> bool:
        """Return whether a weight is that of convolutions alone: their inputs can be masked, and they be refitted."""
        return name in self._convolutions

    def forget(self) -> None:
        """Let go of the recorded inputs and what was remembered of them."""
        for step in self._steps:
            self._values[step.writes] = None

    def _execute(
        self, values: list, tail: _Tail, masks: Mapping[int, Tensor], packed: Mapping[int, Sequence[Tensor | None]]
    ) -> object:
        for i, spent in zip(tail.steps, tail.spent, strict=True):
            step = self._steps[i]
            args = [_filled(arg, values) for arg in step.args]
            if i in masks:
                x = args[0]
                args[0] = x * masks[i].to(x.device, x.dtype).reshape(1, -1, *(1,) * (x.ndim - 2))
            if i in packed:
                args[1:3] = packed[i]
            kwargs = {key: _filled(arg, values) for key, arg in step.kwargs.items()} if step.kwargs else {}
            call = step.call.into if isinstance(step.call, Convolution) and i in tail.over else step.call
            values[step.writes] = call(*args, **kwargs)
            for slot in spent:
                values[slot] = None
        return tree_unflatten([_filled(output, values) for output in self._outputs], self._structure)

    # Making it ------------------------------------------------------------------------------------------------------

    def _converted(self, tensor: Tensor) -> Tensor:
        return converted(tensor, self._dtype)

    def _new(self, value: object = None) -> _Slot:
        self._values.append(value)
        return _Slot(len(self._values) - 1)

    def _place(self, recording: Recording, node: fx.Node) -> _Slot:
        if node not in self._slots:
            value = recording.tensors.get(node)
            # Batch norms take parameters of their own precision.
            exact = value is None or any(_is_norm(user) for user in node.users)
            self._slots[node] = self._new(value if value is None or exact else self._converted(value))
        return self._slots[node]

    def _add_node(self, recording: Recording, node: fx.Node) -> None:
        args, kwargs = tree_map_only(
            fx.Node, lambda n: self._place(recording, n), (tuple(node.args), dict(node.kwargs))
        )
        # Our kernels lay their outputs out as they like, which a view might not.
        call = aten.reshape.default if node.target in _VIEWS else node.target
        self._add(node, cast(Callable, call), args, kwargs)

    def _add_chain(self, recording: Recording, chain: Chain) -> None:
        of = operands(chain.convolution)
        convolution = Convolution(of.stride, of.padding, of.dilation, of.groups, chain.activation)
        read: tuple[_Slot | None, ...]  # weight and bias
        if all(node is None or node in recording.tensors for node in (of.weight, of.bias)):
            weight, size, folds = recording.tensors[of.weight], recording.shapes[of.x], fold(recording, chain)
            # By a tensor of the type that it will have, from which the choice of a kernel follows.
            convolution = best_kernel(self._converted(weight), convolution, size, chain.other is not None)
            folded = Folded(convolution, folds, size, self._dtype)
            read = tuple(None if t is None else self._new(t) for t in folded.packed(weight, None))
            name = recording.names.get(of.weight)
            if name is not None and all(user.target is aten.convolution.default for user in of.weight.users):
                self._convolutions.setdefault(name, {})[len(self._steps)] = folded
        else:
            read = tuple(None if node is None else self._place(recording, node) for node in (of.weight, of.bias))
        other = () if chain.other is None else (self._place(recording, chain.other),)
        self._add(chain.last, convolution, (self._place(recording, of.x), *read, *other), {})

    def _add(self, node: fx.Node, call: Callable, args: tuple, kwargs: dict) -> None:
        reads = tuple(leaf.index for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, _Slot))
        self._slots[node] = self._new()
        self._steps.append(_Step(call, args, kwargs, reads, self._slots[node].index))

    def _tail(self, names: tuple[str, ...]) -> _Tail:
        changed = {self._named[name].index for name in names if name in self._named}
        starts = {i for name in names for i in self._convolutions.get(name, ())}
        reached = []
        for i, step in enumerate(self._steps):
            if i in starts or not changed.isdisjoint(step.reads):
                reached.append(i)
                changed.add(step.writes)
        return self._with_ends(reached, self._results())

    def _results(self) -> set[int]:
        return {output.index for output in self._outputs if isinstance(output, _Slot)}

    def _needs(self, tail: _Tail) -> set[int]:
        """Return the computed values that a tail reads and does not write."""
        reads = {slot for i in tail.steps for slot in self._steps[i].reads}
        computed = {step.writes for step in self._steps}
        return reads & computed - {self._steps[i].writes for i in tail.steps}

    def _with_ends(self, steps: Collection[int], keep: Collection[int]) -> _Tail:
        written = {self._steps[i].writes for i in steps} - set(keep)
        last = {slot: i for i in steps for slot in (*self._steps[i].reads, self._steps[i].writes) if slot in written}
        spent: dict[int, list[int]] = {}
        for slot, i in last.items():
            spent.setdefault(i, []).append(slot)
        # What a convolution has made anew and only convolutions read is nobody else's memory.
        shared = {slot for step in self._steps if not isinstance(step.call, Convolution) for slot in step.reads}
        fresh = {self._steps[i].writes for i in steps if isinstance(self._steps[i].call, Convolution)} - shared
        over = {i for i, slots in spent.items() if fresh.intersection(slots, self._added(i))}
        return _Tail(tuple(steps), tuple(tuple(spent.get(i, ())) for i in steps), frozenset(over))

    def _added(self, i: int) -> tuple[int, ...]:
        """Return the place of what a step's convolution adds, if it does and does not read it otherwise."""
        step = self._steps[i]
        if not isinstance(step.call, Convolution) or len(step.args) < 4 or step.args[3] == step.args[0]:
            return ()
        return (step.args[3].index,)


def _filled(arg: Any, values: list) -> Any:
    if isinstance(arg, _Slot):
        return values[arg.index]
    if isinstance(arg, (list, tuple)):
        return [_filled(item, values) for item in arg]
    return arg


def _is_norm(node: fx.Node) -> bool:
    return "batch_norm" in str(node.target)
