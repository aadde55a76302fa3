"""Which features others can take over: backward elimination on second moments, least squares anew after each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WIDE_CHANNELS, WIDE_FEATURES = 128, 1536  # beyond either, several channels go at a time
SHARE, POOL = 32, 4  # a wide group's step: 1 of 32 of what is left, chosen among 4 times as many


@dataclass(frozen=True, eq=False)
class Reader:
    """One reader of some channels: outputs that are sums of features times weights.

    Attributes
    ----------
    gram : Tensor, (features, features)
        Second moments of the features; about their means where the reader has a constant beside the weights.
    weight : Tensor, (features, outputs)
        Scaled so that squared errors of all outputs, and of all readers, count alike.
    channels : Tensor, (features,) int64
        The channel that a feature goes with, -1 for one that stays whatever goes.
    ridge : float
        > 0: how firmly weights hold to what they are, relative to the mean diagonal. Ten times as firmly, or more,
        where rounding leaves second moments that no numbers have.
    """

    gram: Tensor
    weight: Tensor
    channels: Tensor
    ridge: float

    def inverse(self) -> Tensor:
        """Return the inverse of the second moments with the ridge, float64."""
        gram = self.gram.double()
        if not (self.ridge > 0 and bool(torch.isfinite(gram).all())):
            raise ValueError(
                f"second moments of {len(gram)} features must be finite, with a ridge > 0; got {self.ridge}"
            )
        diagonal = gram.diagonal().clone()
        level = diagonal.mean()
        strength = self.ridge * torch.where(level > 0, level, torch.ones_like(level))  # of zeros alone: any
        while True:
            gram = gram.clone()
            gram.diagonal().copy_(diagonal + strength)
            factor, failed = torch.linalg.cholesky_ex(gram)
            if not bool(failed):
                return torch.cholesky_inverse(factor)
            strength = strength * 10


def eliminate(
    readers: Sequence[Reader], channels: int, blocks: Sequence[int] | None = None, *, wide: bool | None = None
) -> Tensor:
    """Remove channel after channel, each time the one that is missed least, and tell the error by then.

    Missed is what is left of the readers' outputs when the features that stay take over as well as they can. With the
    second moments ``G`` of a reader, ridge included, and its weights ``W`` refitted so far, the squared error grows by
    ``tr(W_j' [(G^-1)_jj]^-1 W_j)`` when the features ``j`` of a channel go (the optimal brain surgeon of Hassibi and
    Stork, 1993, for blocks; exact). It is added up over readers. Where two channels are copies of each other, one of
    them goes for nothing, and then the other is worth as much as both were.

    In a group of more than 128 channels or 1,536 features, one of 32 of the channels that are left goes at a time: the
    greedy choice is made as exactly, but among the four times as many that are missed least alone. All in all n^3
    operations for a reader of n features.

    Parameters
    ----------
    readers : sequence of Reader
        A channel that nobody reads is missed by nobody.
    channels : int
        How many there are.
    blocks : sequence of int, optional
        (channels,): blocks of equally many channels; they take turns to lose one.
    wide : bool, optional
        Whether several go at a time; as said above when left out.

    Returns
    -------
    Tensor, (channels,)
        float64: the sum of all squared errors when a channel went. The lower, the earlier; of equals the first.

    Raises
    ------
    ValueError
        For second moments that are not finite, or blocks of different sizes.
    """
    device = readers[0].gram.device if readers else torch.device("cpu")
    state = _State([_Inverse.of(reader) for reader in readers], torch.arange(channels, device=device), channels)
    members = torch.zeros(channels, dtype=torch.int64, device=device)
    if blocks is not None:
        if len(blocks) != channels or len({list(blocks).count(block) for block in set(blocks)}) > 1:
            raise ValueError(f"blocks must be {channels} numbers, each as often as any other; got {list(blocks)[:12]}")
        members = torch.unique(torch.as_tensor(blocks, device=device), return_inverse=True)[1]
    turns = int(members.max()) + 1 if channels else 1
    if wide is None:
        wide = channels > WIDE_CHANNELS or max((len(r.channels) for r in readers), default=0) > WIDE_FEATURES
    scores = torch.empty(channels, dtype=torch.float64, device=device)
    error, turn = torch.zeros((), dtype=torch.float64, device=device), 0
    while len(state.numbers):
        count = len(state.numbers) // SHARE if wide else 1
        if count <= 1:
            gone, grown = state.remove_least(members == turn % turns)
            scores[gone] = error = error + grown
            turn += 1
            continue
        some = state.part(_pool(state, members, POOL * count, turns))
        order = []
        for _ in range(count):
            gone, grown = some.remove_least(members == turn % turns)
            scores[gone] = error = error + grown
            order.append(gone)
            turn += 1
        state.remove(torch.stack(order))
    return scores.cpu()


def _pool(state: _State, members: Tensor, size: int, turns: int) -> Tensor:
    """Return the numbers of the channels that are missed least alone, ascending; of each block equally many."""
    grown = state.grown()
    each = -(-size // turns)
    picked = []
    for block in range(turns):
        mine = torch.nonzero(members[state.numbers] == block).squeeze(1)
        picked.append(mine[torch.argsort(grown[mine], stable=True)[:each]])
    return state.numbers[torch.cat(picked).sort().values]


class _State:
    """Some channels, and all that their readers know of them."""

    def __init__(self, inverses: list[_Inverse], numbers: Tensor, channels: int) -> None:
        self._inverses, self.numbers, self._channels = inverses, numbers, channels

    def grown(self) -> Tensor:
        """Return by how much the error grows with each channel alone, (channels left,)."""
        total = torch.zeros(self._channels, dtype=torch.float64, device=self.numbers.device)
        for inverse in self._inverses:
            total.index_add_(0, inverse.numbers, inverse.grown())
        return total[self.numbers]

    def remove_least(self, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """Remove one of the allowed channels, (all channels,) bool; return its number and the growth of the error."""
        grown = torch.where(allowed[self.numbers], self.grown(), torch.inf)
        at = grown.argmin()
        gone = self.numbers[at]
        self.remove(gone.unsqueeze(0))
        return gone, grown[at]

    def remove(self, gone: Tensor) -> None:
        """Remove channels of these numbers."""
        self.numbers = self.numbers[~torch.isin(self.numbers, gone)]
        for inverse in self._inverses:
            inverse.remove(gone)

    def part(self, numbers: Tensor) -> _State:
        """Return a copy that knows of these channels alone; removing them from it is the same as from here."""
        return _State([inverse.part(numbers) for inverse in self._inverses], numbers, self._channels)


class _Inverse:
    """The inverse of a reader's second moments and its refitted weights, for the features of some channels.

    Features lie channel by channel, equally many of each: channels with fewer are filled up with features without
    weights. Others are not here: once the inverse is known, what goes changes nothing that is asked of them.

    Attributes
    ----------
    numbers : Tensor, (channels,) int64
        Of the channels, ascending; some of those that are gone are among them, and grow no error.
    """

    def __init__(self, inverse: Tensor, weight: Tensor, numbers: Tensor) -> None:
        self._inverse, self._weight, self.numbers = inverse, weight, numbers
        self._idle = torch.zeros(len(numbers), dtype=torch.bool, device=numbers.device)
        self._known: Tensor | None = None

    @classmethod
    def of(cls, reader: Reader) -> _Inverse:
        """Return that of all channels of a reader."""
        inverse = reader.inverse()
        numbers, place, counts = torch.unique(reader.channels, return_inverse=True, return_counts=True)
        order = torch.argsort(place, stable=True)
        order = order[reader.channels[order] >= 0]
        own = numbers >= 0
        numbers, counts = numbers[own], counts[own]
        most = int(counts.max()) if len(counts) else 0
        weight = reader.weight[order].double()
        if weight.shape[1] > len(weight):  # fewer columns with the same products of rows
            weight = torch.linalg.qr(weight.T, mode="r").R.T.contiguous()
        inverse = inverse[order][:, order]
        if int(counts.sum()) < len(numbers) * most:
            starts = torch.arange(len(numbers), device=inverse.device) * most
            before = (counts.cumsum(0) - counts).repeat_interleave(counts)
            within = torch.arange(len(order), device=inverse.device) - before
            at = starts.repeat_interleave(counts) + within
            whole = torch.eye(len(numbers) * most, dtype=torch.float64, device=inverse.device)
            whole[at.unsqueeze(1), at] = inverse
            inverse = whole
            weight = weight.new_zeros(len(numbers) * most, weight.shape[1]).index_copy_(0, at, weight)
        return cls(inverse, weight, numbers)

    @property
    def _each(self) -> int:
        return len(self._weight) // max(1, len(self.numbers))

    def grown(self) -> Tensor:
        """Return by how much the error grows with each channel alone, (channels,)."""
        if self._known is None:
            n, each = len(self.numbers), self._each
            squares = self._inverse.view(n, each, n, each).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
            weight = self._weight.view(n, each, self._weight.shape[1])
            # tr(W' D^-1 W) = sum of D^-1 times W W', elementwise
            factor = torch.linalg.cholesky(squares)
            self._known = (torch.cholesky_inverse(factor) * (weight @ weight.transpose(1, 2))).sum((1, 2))
        return self._known

    def remove(self, gone: Tensor) -> None:
        """Remove those of the channels that are here; the others take over."""
        out = torch.isin(self.numbers, gone)
        if not bool(out.any()):
            return
        mine = torch.nonzero(out.repeat_interleave(self._each)).squeeze(1)
        rows = self._inverse[mine]
        factor = torch.linalg.cholesky(rows[:, mine])
        half = torch.linalg.solve_triangular(factor, rows, upper=False)  # (gone, all)
        lost = torch.linalg.solve_triangular(factor, self._weight[mine], upper=False)
        self._weight.addmm_(half.T, lost, alpha=-1)
        self._inverse.addmm_(half.T, half, alpha=-1)
        self._weight[mine] = 0  # they lie idle, until so many do that moving the others together is worth it
        self._inverse[mine] = 0
        self._inverse[:, mine] = 0
        self._inverse[mine, mine] = 1
        self._idle |= out
        self._known = None
        if int(self._idle.sum()) * 8 > len(self.numbers):
            rest = self.part(self.numbers[~self._idle])
            self._inverse, self._weight, self.numbers, self._idle = (
                rest._inverse, rest._weight, rest.numbers, rest._idle,
            )  # fmt: skip

    def part(self, numbers: Tensor) -> _Inverse:
        """Return a copy for some of the channels."""
        here = torch.isin(self.numbers, numbers)
        mine = torch.nonzero(here.repeat_interleave(self._each)).squeeze(1)
        return _Inverse(self._inverse[mine.unsqueeze(1), mine], self._weight[mine], self.numbers[here])
