"""A model's own tensors beside its layers: tokens, tables of positions, learned queries, layer scales.

Where a calculation with such a tensor begins, it gets labels of its own, along the dimension that could be its
channels'. What meets activations later shows whose channels these are, and ties the labels to theirs. Labels that meet
none belong to no group; where they do not fit, the tensor counts as fixed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from fpgmlab.common.modules import split_name
from fpgmlab.graph.tracing.contraction import CONTRACTIONS
from fpgmlab.graph.tracing.labels import ELEMENTWISE, RULES, SPATIAL, UNARY, Recorder, varying
from fpgmlab.graph.tracing.layers import TracedLayer
from fpgmlab.graph.tracing.movement import JOINING, MOVEMENT

# Their weights have rules of their own.
_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
_TAKES_FIRST = MOVEMENT | SPATIAL | {"layer_norm", "rms_norm", "linear"}  # work on one tensor, their first
_MEETING = JOINING | ELEMENTWISE | UNARY | CONTRACTIONS.keys()  # may take several tensors with channels
_BATCHED = frozenset({"matmul", "bmm", "scaled_dot_product_attention"})  # side by side in all but two dimensions


class OwnRecorder(Recorder, Protocol):
    """What labels of a model's own tensors need of the tracer."""

    names: dict[int, str]
    modules: dict[str, nn.Module]

    def known(self, layer: str) -> TracedLayer | None: ...
    def new_labels(self, count: int) -> Tensor: ...


class OwnTensors:
    """Labels of a model's own tensors.

    Parameters
    ----------
    to : OwnRecorder
    dims : mapping of str to int
        Along which dimension a tensor has its channels, for those of which it is known.
    """

    def __init__(self, to: OwnRecorder, dims: Mapping[str, int]) -> None:
        self._to, self._dims = to, dict(dims)
        self._starts: list[int] = []  # where each tensor's labels begin, ascending
        self._labelled: list[tuple[str, Tensor, int]] = []  # name, tensor, dimension
        self.turned: dict[str, int] = {}  # the dimension that would have fitted, where a tensor's labels did not

    def dim_of(self, tensor: Tensor, operation: str = "") -> int | None:
        """Return the dimension that could be a tensor's channels'; None for one that is no tensor with channels."""
        name = self._to.names.get(id(tensor))
        if name is None or not tensor.is_floating_point() or tensor.numel() < 2:
            return None
        several = [dim for dim, size in enumerate(tensor.shape) if size > 1]
        if len(several) > 1 and isinstance(self._to.modules.get(split_name(name)[0]), _LAYERS):
            return None
        if operation in SPATIAL:
            return 1 if 1 in several else None
        sizes = [tensor.shape[dim] for dim in several]
        # (1, channels, height, width): a map's sides are mostly equal.
        usual = several[0] if len(several) == 3 and sizes[1] == sizes[2] != sizes[0] else several[-1]
        return self._dims.get(name, usual)

    def begin(self, name: str, args: Sequence[object], inputs: Sequence[Tensor]) -> list[tuple[TracedLayer, Tensor]]:
        """Return the tensors with which an operation begins a calculation, or that it puts beside others, as layers."""
        labelled = [(tensor, label) for tensor in inputs if (label := self._to.get(tensor)) is not None]
        if not labelled:
            dims = [(tensor, self.dim_of(tensor, name)) for tensor in _begins(name, args, inputs)]
            if name not in _TAKES_FIRST and any(dim is None for _, dim in dims):
                return []
        elif name in JOINING and len(along := varying(labelled[0][1])) == 1:
            dim, shape = along[0], labelled[0][0].shape
            alike = [t for t in inputs if self.dim_of(t) is not None and t.ndim == len(shape)]
            dims = [(tensor, dim) for tensor in alike if tensor.shape[dim] == shape[dim]]
        else:
            return []
        return [(self._layer(tensor, dim), tensor) for tensor, dim in dims if dim is not None]

    def _layer(self, tensor: Tensor, dim: int) -> TracedLayer:
        name = self._to.names[id(tensor)]
        known = self._to.known(name)
        if known is not None:
            return TracedLayer(name, "tensor", outputs=known.outputs, dim=known.dim)
        labels = self._to.new_labels(tensor.shape[dim])  # consecutive
        self._starts.append(int(labels[0]))
        self._labelled.append((name, tensor, dim))
        return TracedLayer(name, "tensor", outputs=labels.numpy(), dim=dim)

    def settle(self, name: str, inputs: Sequence[Tensor]) -> None:
        """Let own tensors whose labels do not lie along the channels of others count as fixed."""
        if name not in _MEETING:
            return
        labelled = [(tensor, label) for tensor in inputs if (label := self._to.get(tensor)) is not None]
        own = [(tensor, label) for tensor, label in labelled if self.alone(label)]
        if not 0 < len(own) < len(labelled):
            return
        mine = {id(tensor) for tensor, _ in own}
        others = [(tensor, label) for tensor, label in labelled if id(tensor) not in mine]
        met = {dim - tensor.ndim: tensor.shape[dim] for tensor, label in others for dim in varying(label)}
        for tensor, label in own:
            along = {dim - tensor.ndim for dim in varying(label)}
            side_by_side = name in JOINING | ELEMENTWISE or (name in _BATCHED and max(along, default=0) < -2)
            if side_by_side and along and along <= set(met):
                continue
            for dim, channels in met.items():
                if tensor.ndim >= -dim and tensor.shape[dim] > 1:
                    self._turn(label, channels)
            self._to.freeze(label, f"{name!r} combines it with channels along another dimension")
            self._to.put(tensor, None)

    def alone(self, label: Tensor) -> bool:
        """Tell whether labels are own tensors' and nobody else's."""
        places = self._places(label)
        return len(places) > 0 and min(places) >= 0

    def _places(self, label: Tensor) -> set[int]:
        """Return whose labels are among some: positions of own tensors, and -1 for others."""
        if not self._starts:
            return set()
        ids = label[label > 0].unique().tolist()
        places = [bisect_right(self._starts, each) - 1 for each in ids]
        return {p if p >= 0 and each < self._stop(p) else -1 for p, each in zip(places, ids, strict=True)}

    def _stop(self, place: int) -> int:
        _, tensor, dim = self._labelled[place]
        return self._starts[place] + tensor.shape[dim]

    def _turn(self, label: Tensor, channels: int) -> None:
        """Note along which other dimension own tensors could meet so many channels."""
        for place in self._places(label) - {-1}:
            name, tensor, own = self._labelled[place]
            fits = [dim for dim, size in enumerate(tensor.shape) if size == channels and dim != own]
            if fits and name not in self._dims:
                self.turned.setdefault(name, fits[0])


def laid(labels: Tensor, dim: int, ndim: int) -> Tensor:
    """Return labels (channels,) as a label tensor that changes along one of so many dimensions."""
    return labels.reshape(tuple(-1 if d == dim else 1 for d in range(ndim)))


def _begins(name: str, args: Sequence[object], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors that an operation works on, all of which must be a model's own."""
    if name == "embedding":
        return [tensor for tensor in args[1:2] if isinstance(tensor, Tensor)]
    if name in _TAKES_FIRST and name not in JOINING:
        return [tensor for tensor in args[:1] if isinstance(tensor, Tensor)]
    return [tensor for tensor in inputs if tensor.numel() > 1] if name in UNARY | ELEMENTWISE | JOINING else []


def _embedding(to: Recorder, name: str, func: Callable, args: tuple, kwargs: dict, out: Any) -> None:
    """Rows of a table, by number: the table's last dimension is the result's."""
    label = to.get(args[1])
    if label is not None and kwargs.get("max_norm", args[3] if len(args) > 3 else None) is not None:
        to.freeze(label, f"{name!r} with max_norm scales whole rows")
    to.put(out, None if label is None else laid(label.reshape(-1), out.ndim - 1, out.ndim))


RULES["embedding"] = _embedding
