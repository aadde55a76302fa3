"""A channel group: the channels of several layers that can only be removed together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChannelGroup:
    """The channels of several layers that can only be removed together.

    Attributes
    ----------
    name : str
        The module name of its first producer.
    channels : int
        How many there are.
    producers : tuple of str
        Convolutions and linear layers whose filters make these channels, in order of execution.
    consumers : tuple of str
        Convolutions and linear layers that read them.
    protected : str or None
        Why none of them may be removed, in words; None when they may.
    channelwise : tuple of str
        Layers in between that treat each channel by itself or normalise over them: batch norms, depthwise convolutions.
    blocks : tuple of int or None
        For each channel its block, when a grouped convolution or a split asks that as many channels go from each block.
    parts : tuple of tuple of int
        Where a layer makes or reads only some of these channels and no others: these, one of which must stay. No part
        holds another one.
    remedy : str
        What would free a protected group, in words; empty where nothing is known to.
    """

    name: str
    channels: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    protected: str | None = None
    channelwise: tuple[str, ...] = ()
    blocks: tuple[int, ...] | None = None
    parts: tuple[tuple[int, ...], ...] = ()
    remedy: str = ""

    @property
    def step(self) -> int:
        """How many channels must go at a time: the number of blocks, or 1."""
        return 1 if self.blocks is None else len(set(self.blocks))

    @property
    def least(self) -> int:
        """How many channels can always stay without a layer being left with none: one for each block and part."""
        if not self.parts:
            return self.step
        block_of = self.blocks or (0,) * self.channels
        touched = [block for part in self.parts for block in {block_of[channel] for channel in part}]
        return self.step * max(touched.count(block) for block in touched)
