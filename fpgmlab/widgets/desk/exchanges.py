"""Channels exchanged by hand: one stays that would go, and another of its group goes in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fpgmlab.graph.channel_graph import ChannelGraph
from fpgmlab.graph.channel_group import ChannelGroup
from fpgmlab.graph.naming import unknown_group
from fpgmlab.plans.plan import Plan
from fpgmlab.plans.rounding import Scores

Pair = tuple[int, int]  # the channel that stays, the one that goes in its place
Exchanges = dict[str, tuple[Pair, ...]]  # by group, in the order in which they were made

_NAMED = 8  # channels that an error lists


def exchanged(group: ChannelGroup, removed: tuple[int, ...], pairs: Sequence[Pair]) -> tuple[int, ...]:
    """Return which channels of a group go after exchanges, ascending: as many as before.

    An exchange counts where the one channel goes and the other stays; it does nothing where both go, both stay, or
    where a layer would be left with none of the channels that it makes or reads.
    """
    if not pairs:
        return removed
    gone = set(removed)
    for stay, go in pairs:
        if stay in gone and go not in gone and _emptied(group, gone - {stay}, go) is None:
            gone = gone - {stay} | {go}
    return tuple(sorted(gone))


def check_exchange(group: ChannelGroup, removed: tuple[int, ...], stay: int, go: int) -> None:
    """Raise a `ValueError` that says why two channels of a group, of which some are removed, cannot be exchanged."""
    check_pair(group, stay, go)
    name = f"group {group.name!r}"
    if not removed:
        raise ValueError(f"nothing of {name} is removed: there is no channel to exchange")
    if stay not in removed:
        raise ValueError(f"stay must be a channel of {name} that goes ({_listed(removed)}); {stay} stays already")
    if go in removed:
        raise ValueError(f"go must be a channel of {name} that stays; {go} goes already ({_listed(removed)} do)")
    part = _emptied(group, set(removed) - {stay}, go)
    if part is not None:
        raise ValueError(
            f"channel {go} of {name} must stay: a layer makes or reads only channels {_listed(part)} of it, "
            f"and would be left with none"
        )


def with_exchange(graph: ChannelGraph, exchanges: Exchanges, plan: Plan, name: str, stay: int, go: int) -> Exchanges:
    """Return exchanges and one more; one that takes the last back leaves neither.

    Raises
    ------
    ValueError
        For an unknown group, and for channels that cannot be exchanged under a plan.
    """
    if name not in graph:
        raise ValueError(unknown_group(graph, name))
    check_exchange(graph[name], plan.removed[name], stay, go)
    before = exchanges.get(name, ())
    after = before[:-1] if before and before[-1] == (go, stay) else (*before, (stay, go))
    return checked_exchanges(graph, exchanges | {name: after})


def exchanged_scores(scores: Scores, exchanges: Exchanges) -> Scores:
    """Return scores by which plans mind what was chosen by hand: those of exchanged channels are exchanged."""
    found = dict(scores)
    for name, pairs in exchanges.items():
        mine = found[name].clone()
        for stay, go in pairs:
            mine[[stay, go]] = mine[[go, stay]]
        found[name] = mine
    return found


def check_pair(group: ChannelGroup, stay: int, go: int) -> None:
    """Raise a `ValueError` for two channels of a group that no plan lets take each other's place."""
    name = f"group {group.name!r}"
    if group.protected is not None:
        raise ValueError(f"{name} is protected ({group.protected}): nothing of it goes")
    for word, channel in (("stay", stay), ("go", go)):
        if type(channel) is not int or not 0 <= channel < group.channels:
            raise ValueError(f"{word} must be a channel of {name}, 0 to {group.channels - 1}; got {channel!r}")
    if stay == go:
        raise ValueError(f"stay and go must be two channels of {name}; got {stay} twice")
    if group.blocks is not None and group.blocks[stay] != group.blocks[go]:
        raise ValueError(
            f"as many channels must go from each of {group.step} blocks of {name}: {stay} is in block "
            f"{group.blocks[stay]}, {go} in block {group.blocks[go]}; exchange two of one block"
        )


def checked_exchanges(graph: ChannelGraph, exchanges: Mapping[str, object]) -> Exchanges:
    """Return exchanges as they are used, without groups of none; a `ValueError` says what cannot be one."""
    found: Exchanges = {}
    for name, pairs in exchanges.items():
        if name not in graph:
            raise ValueError(unknown_group(graph, name))
        if not isinstance(pairs, (list, tuple)):
            raise ValueError(f"exchanges of group {name!r} must be pairs of channels (stay, go); got {pairs!r}")
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise ValueError(f"an exchange of group {name!r} must be two channels (stay, go); got {pair!r}")
            check_pair(graph[name], *pair)
        if pairs:
            found[name] = tuple((stay, go) for stay, go in pairs)
    return found


def _emptied(group: ChannelGroup, gone: set[int], go: int) -> tuple[int, ...] | None:
    """Return a part of which nothing would stay if another channel went, or None."""
    return next((part for part in group.parts if go in part and gone.issuperset(set(part) - {go})), None)


def _listed(channels: Sequence[int]) -> str:
    more = len(channels) - _NAMED
    return ", ".join(map(str, channels[:_NAMED])) + (f" and {more} more" if more > 0 else "")
