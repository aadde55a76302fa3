"""Why channels must stay, and what would free them."""

from __future__ import annotations

from typing import NamedTuple

# What frees channels, wherever the same would.
OWN_SIZE = "read the size from the shape of the tensor that it shapes, or write -1"
HELD_ROWS = "write one of the sizes as -1, or let the module hold it as an attribute (self.num_heads)"
OWN_TENSOR = "make the other tensor a parameter or buffer with one entry for each channel, or one number for all"
OWN_LAYER = "give each use a layer of its own"
OWN_NUMBER = "let the module hold another number for that"
PLAIN_WEIGHT = (
    "put the computed weight into a plain layer and trace that, or give the layer's class an fpgmlab.LayerRule: "
    "fpgmlab.trace(..., layers={Class: rule})"
)
PLAIN_NORM = "normalise over the last dimension alone, with a module such as nn.LayerNorm"
STAY_TENSOR = "keep it a tensor, without item() or float()"
KNOWN_OPERATION = (
    "write it with operations that keep channels apart, or give the module that it is in an fpgmlab.LayerRule: "
    "fpgmlab.trace(..., layers={Class: rule})"
)


class Reason(NamedTuple):
    """Why some channels must stay.

    Attributes
    ----------
    text : str
        The reason, in words.
    remedy : str
        What a user can do to free them; empty where nothing is known to.
    """

    text: str
    remedy: str = ""
