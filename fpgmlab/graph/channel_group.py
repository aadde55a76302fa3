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
    unit : int
        How many channels of a layer one channel of the group stands for, as they only go together: those of an
        attention head. 1 nearly always.
    unit_name : str
        What that is, such as ``"head"``; empty where nothing says it.
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
    unit: int = 1
    unit_name: str = ""

    @property
    def step(self) -> int:
        """How many channels must go at a time: the number of blocks, or 1."""
        return 1 if self.blocks is None else len(set(self.blocks))

    def counted(self, channels: int) -> str:
        """Return a number of its channels in words.

        Examples
        --------
        >>> graph["conv1"].counted(16)
        '16 channels'
        >>> ChannelGroup("qkv", 12, ("qkv",), ("proj",), unit=32, unit_name="head").counted(6)
        '6 heads of 32 channels'
        """
        word = self.unit_name or ("channel" if self.unit == 1 else "unit")
        of = f" of {self.unit} channels" if self.unit > 1 else ""
        return f"{channels} {word}{'' if channels == 1 else 's'}{of}"

    @property
    def each(self) -> str:
        """What one of its channels is in words: ``"channel"``, or ``"head of 32 channels"``."""
        return self.counted(1).removeprefix("1 ")

    @property
    def least(self) -> int:
        """How many channels can always stay without a layer being left with none: one for each block and part."""
        if not self.parts:
            return self.step
        block_of = self.blocks or (0,) * self.channels
        touched = [block for part in self.parts for block in {block_of[channel] for channel in part}]
        return self.step * max(touched.count(block) for block in touched)
