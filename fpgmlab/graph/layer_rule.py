"""What a user says of a layer class of their own: where its tensors and its activations have their channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fpgmlab.errors import one_of

AXES = ("in", "out", "each")
PLACES = ("output", "input")


@dataclass(frozen=True)
class LayerRule:
    """What a layer class of one's own does with channels, for ``fpgmlab.trace(..., layers={MyLayer: rule})``.

    Such a layer is taken as a whole: tracing does not look into its code, which may be compiled, in C++, or compute its
    weights. It takes one tensor with channels and gives one.

    Parameters
    ----------
    tensors : mapping of str to sequence
        For each parameter or buffer (its name in the layer, dotted where it is a part's) a word for each dimension, or
        None: ``"in"`` where the layer's input channels lie, ``"out"`` for its output channels, ``"each"`` for the
        channels of a layer that does with each something by itself, as a batch norm does. Tensors that are not named,
        and dimensions that are None, are never cut.
    inputs, outputs : int
        The dimension of what it takes, and of what it gives, along which the channels lie.
    attributes : mapping of str to str, optional
        Attributes of the layer that hold a number of channels, with ``"in"``, ``"out"`` or ``"each"``: surgery writes
        them anew. Those of torch's own classes (``in_channels``, ``out_features`` and the like) are kept right anyway.
    applied : {"output", "input"}
        Where the weights are applied, for the MACs: once at each position of the output, as a convolution's, or of the
        input, as a transposed convolution's. Tensors of two dimensions and more count.

    Raises
    ------
    ValueError
        For other words, a tensor with two dimensions of one kind, channels taken in that nothing gives out.

    Notes
    -----
    A channel that is removed has no influence once all weights that read it (tensors with ``"in"``) are zero. Whether
    that holds, `fpgmlab.trace` tries with a network that is really cut, and protects the groups for which it does not.
    Such layers are scored, swept, pruned and trained like any; `fpgmlab.repair` refits those around them.

    Examples
    --------
    >>> fl.LayerRule({"kernel": (None, None, "in", "out"), "bias": ("out",)}, attributes={"width": "out"}).makes
    True
    >>> fl.LayerRule({"slope": ("each",)}).makes
    False
    """

    tensors: Mapping[str, Sequence[str | None]]
    inputs: int = 1
    outputs: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)
    applied: str = "output"

    def __post_init__(self) -> None:
        if not isinstance(self.tensors, Mapping):
            raise ValueError(f"tensors must map a tensor's name to a word for each dimension; got {self.tensors!r}")
        for name, words in self.tensors.items():
            if isinstance(words, str) or not isinstance(words, Sequence):
                raise ValueError(f"{name!r} needs a word or None for each dimension, as ('out', 'in'); got {words!r}")
            said = [word for word in words if word is not None]
            for word in said:
                if word not in AXES:
                    raise ValueError(one_of(f"a dimension of {name!r}", word, (*AXES, None)))
            if len(set(said)) < len(said):
                raise ValueError(f"{name!r} has several dimensions of one kind: {tuple(words)}; channels lie along one")
        for name, word in self.attributes.items():
            if word not in AXES:
                raise ValueError(one_of(f"the attribute {name!r}", word, AXES))
        if self.applied not in PLACES:
            raise ValueError(one_of("applied", self.applied, PLACES))
        axes = self._words
        if "each" in axes and len(axes) > 1:
            raise ValueError("a layer either does with 'each' channel something by itself, or makes 'out' from 'in'")
        if axes and "each" not in axes and axes != {"in", "out"}:
            raise ValueError(
                f"only {next(iter(axes))!r} channels are named: a layer that makes 'out' from 'in' has tensors for "
                "both, one that does with each channel something by itself 'each'"
            )
        if self.makes and not self.reading:
            raise ValueError("no tensor has 'in' channels: nothing tells through which weights the layer reads them")

    @property
    def _words(self) -> set[str]:
        axes = {word for words in self.tensors.values() for word in words if word is not None}
        return axes | set(self.attributes.values())

    @property
    def makes(self) -> bool:
        """Whether it makes channels of its own, as a convolution does; else it hands on those that it takes."""
        return "out" in self._words

    @property
    def reading(self) -> tuple[str, ...]:
        """The tensors through which it reads channels: those with ``"in"`` that have other dimensions, if any do."""
        read = [name for name, words in self.tensors.items() if "in" in words]
        return tuple(name for name in read if len(self.tensors[name]) > 1) or tuple(read)

    @property
    def filters(self) -> str | None:
        """The tensor whose slices are its filters, which criteria score: the first with both, else None."""
        return next((name for name, words in self.tensors.items() if {"in", "out"} <= set(words)), None)

    def axis(self, name: str, word: str) -> int | None:
        """Return the dimension of a tensor that a word stands for; None where it has none.

        Parameters
        ----------
        name : str
            Of the tensor.
        word : {"in", "out", "each"}
        """
        words = list(self.tensors[name])
        return words.index(word) if word in words else None
