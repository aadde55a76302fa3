"""Data that are handed out when a test says so."""

from __future__ import annotations

import threading

from torch.utils.data import Dataset

from tests.conftest import blobs

SECONDS = 60


class Gated(Dataset):
    """Pictures of which those from ``stop`` on are handed out only when the gate is open, or never, when damaged."""

    def __init__(self, count: int = 90, stop: int = 10**9) -> None:
        self._data, self.stop, self.damaged = blobs(count, seed=1), stop, False
        self.reached, self.gate = threading.Event(), threading.Event()

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> tuple:
        if index >= self.stop:
            if self.damaged:
                raise OSError(f"picture {index} is damaged")
            self.reached.set()
            assert self.gate.wait(SECONDS)
        return self._data[index]
