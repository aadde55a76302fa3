"""Checkpoints of a training: written whole or not at all, and read only by the training that they are of."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from typing import Any

import torch

from fpgmlab.common.files import as_path
from fpgmlab.common.warned import warn
from fpgmlab.recovery.fitting.identity import Identity, differences, weights

FORMAT = 1
Content = dict[str, Any]  # tensors, texts, numbers, and dicts and lists of these


class Checkpoint:
    """The file of one training.

    Parameters
    ----------
    path : path-like
        A file; in a folder that exists ``fit.pt``.
    run : Identity
        What the training is made from.

    Raises
    ------
    OSError
        When nothing can be written there.
    """

    def __init__(self, path: str | os.PathLike[str], run: Identity) -> None:
        given = as_path(path, "checkpoint")
        self.path = given / "fit.pt" if given.is_dir() else given
        self._part = self.path.with_name(self.path.name + ".part")  # always the same: a killed training leaves one
        self._run = run
        self._readable = False  # once it was tried
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.write_bytes(b"")
            self._part.unlink()
        except OSError as error:
            raise type(error)(
                f"no checkpoint can be written to {str(self.path)!r}: {error.strerror or error}. "
                "Choose a folder that you may write to."
            ) from error

    def write(self, content: Content) -> None:
        """Write the state after an epoch; when the disk is full, warn, and leave what was there.

        Raises
        ------
        TypeError
            When it holds something that could not be read again, such as an extra's own object.
        """
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "run": self._run, **content}, buffer)
        if not self._readable:
            self._try(buffer)
        try:
            try:
                with open(self._part, "wb") as file:
                    file.write(buffer.getbuffer())
                    file.flush()
                    os.fsync(file.fileno())  # there before its name is, also when the power fails
                os.replace(self._part, self.path)
            except BaseException:
                self._part.unlink(missing_ok=True)
                raise
        except OSError as error:
            there = "the one before it is still there" if self.path.is_file() else "there is none"
            warn(
                f"epoch {content['epoch']} is not in the checkpoint {str(self.path)!r}: {error.strerror or error}. "
                f"The training goes on, and {there}.",
            )

    def read(self) -> Content | None:
        """Return what was written last; None when there is nothing.

        Raises
        ------
        ValueError
            When it is of another training, with what differs, or is no checkpoint.
        """
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            stored, number = content["run"], content["format"]
        except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(self.path)!r} is no checkpoint of a training, or damaged. Delete it, or choose another path."
            ) from error
        if number != FORMAT:
            raise ValueError(f"{str(self.path)!r} is a checkpoint of format {number}; this version reads {FORMAT}")
        now = self._run
        if now["weights"] == weights(content["good"]):  # as an interrupted training has left it
            now = {**now, "weights": stored["weights"]}
        if found := differences(stored, now):
            raise ValueError(
                f"{str(self.path)!r} is the checkpoint of another training: {'; '.join(found)}. "
                "Choose another path, or delete it to train anew."
            )
        self._run = stored
        return content

    def _try(self, buffer: io.BytesIO) -> None:
        buffer.seek(0)
        try:
            torch.load(buffer, weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError(
                "a checkpoint holds tensors, texts, numbers, and dicts and lists of these; the state of the network or "
                f"of an extra has something else: {str(error).splitlines()[0]}"
            ) from error
        self._readable = True


def of_generators(device: torch.device) -> Mapping[str, torch.Tensor]:
    """Return the states of the generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generators(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set the generators as `of_generators` has found them."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
