"""One kernel for all notebooks that a worker runs: it imports everything once. The slow suite gives each its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from jupyter_client import KernelManager

from tests.notebooks.running import execute


@pytest.fixture(scope="session")
def run() -> Iterator[Callable[..., None]]:
    """Execute a notebook with parameters into a folder; it must not raise."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    yield partial(execute, (manager, client))
    client.stop_channels()
    manager.shutdown_kernel(now=True)
