"""A small network with attention: heads are units of one channel group, their layers name each head several times."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fpgmlab as fl

HEADS, HEAD_DIM, WIDTH = 4, 6, 10


class Attention(nn.Module):
    """Self-attention, written as most do."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = HEADS, HEAD_DIM, HEADS * HEAD_DIM
        self.qkv = nn.Linear(WIDTH, 3 * self.attn_dim)
        self.proj = nn.Linear(self.attn_dim, WIDTH)

    def forward(self, x: Tensor) -> Tensor:  # (batch, tokens, channels)
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v)
        return self.proj(found.transpose(1, 2).reshape(batch, tokens, self.attn_dim))


class Heads(nn.Module):
    """Patches of a picture (1, 12, 12) as tokens, one block, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 4, stride=4)
        self.norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = x + self.attention(self.norm(x))
        return self.head((x + self.fc2(F.gelu(self.fc1(x)))).mean(1))


def heads(seed: int = 0) -> fl.ChannelGraph:
    """Return the graph of such a network with random weights."""
    torch.manual_seed(seed)
    return fl.trace(Heads().eval(), torch.randn(2, 1, 12, 12))


def filters_of_head(head: int) -> list[int]:
    """Return the outputs of ``qkv`` that belong to a head: of its queries, keys and values."""
    return [part * HEADS * HEAD_DIM + head * HEAD_DIM + i for part in range(3) for i in range(HEAD_DIM)]


def inputs_of_head(head: int) -> list[int]:
    """Return the inputs of ``proj`` that belong to a head."""
    return list(range(head * HEAD_DIM, (head + 1) * HEAD_DIM))
