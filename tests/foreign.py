"""Packages that change their surroundings where they are imported."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Import something that writes settings, asks for the network, replaces functions: nothing of it is left behind.

    ultralytics would write to the home directory, look whether it is online to report its use, install what it misses,
    replace ``torch.save``, change how arrays are printed, and set environment variables.
    """
    environment, saved, printing = dict(os.environ), torch.save, np.get_printoptions()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_VERBOSE": "0"}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(environment)
            torch.save = saved
            torch.set_printoptions(profile="default")
            np.set_printoptions(**printing)
