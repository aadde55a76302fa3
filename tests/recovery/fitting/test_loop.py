"""The loop: accumulation, precision, compilation, workers, losses that are none, and Ctrl-C at any moment."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.recovery.fitting.losses import Losses
from fpgmlab.recovery.steps import _warm_cosine
from tests.recovery.fitting.made import QUIET, Counts, Own, assert_near, small_network, small_task

OPTIONS: dict[str, Any] = {"epochs": 2, "lr": 0.1, **QUIET}


def test_it_is_a_bare_loop():
    model, task = small_network(norm=True), small_task()
    bare = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(bare.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(8))
    for epoch in (1, 2):
        for images, labels in task.train_batches(16, seed=3 * 10007 + epoch):
            optimizer.zero_grad()
            F.cross_entropy(bare(images), labels).backward()
            optimizer.step()
            schedule.step()
    fl.fit(model, task, seed=3, keep="last", **OPTIONS)
    assert_near(model.state_dict(), bare.state_dict(), 1e-5)  # other memory formats


def test_the_schedule_is_torchs():
    model = small_network()
    lrs: list[float] = []

    class Asks(fl.RunningExtra):
        def optimized_by(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

        def before_step(self, model: nn.Module, step: int, steps: int) -> None:
            lrs.append(self.optimizer.param_groups[0]["lr"])

    fl.fit(model, small_task(128), extras=[Asks()], **OPTIONS)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(16))
    wanted = []
    for _ in range(16):
        wanted += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert lrs == wanted


@pytest.mark.parametrize("workers", [1, 2, "auto"])
def test_workers_do_not_change_the_result(workers: int | str):
    alone, other = small_network(norm=True, dropout=0.2), small_network(norm=True, dropout=0.2)
    fl.fit(alone, small_task(), **OPTIONS)
    fl.fit(other, small_task(), workers=workers, **OPTIONS)
    assert_near(alone.state_dict(), other.state_dict(), 0)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 3])
def test_a_task_of_ones_own_may_have_workers(workers: int):
    alone, other = small_network(), small_network()
    for model, count in ((alone, 0), (other, workers)):
        fl.fit(Named(model), Own(), accumulate=2, workers=count, epochs=2, lr=0.1, batch_size=4, progress=False)
    assert_near(alone.state_dict(), other.state_dict(), 0)


class Named(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input: Tensor) -> Tensor:
        return self.model(input)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_accumulated_batches_are_one_large_batch(parts: int, optimizer: str):
    large, small = small_network().double(), small_network().double()
    task = small_task()
    for data in (task.train, task.val):
        data.tensors = (data.tensors[0].double(), data.tensors[1])
    told: list[list[float]] = [[], []]
    for number, (model, batch_size, accumulate) in enumerate(((large, 16, 1), (small, 16 // parts, parts))):
        options = OPTIONS | {"batch_size": batch_size, "accumulate": accumulate, "optimizer": optimizer}
        fl.fit(model, task, on_step=lambda row, n=number: told[n].append(row["loss"]), **options)
    assert_near(large.state_dict(), small.state_dict(), 1e-6 if optimizer == "adamw" else 1e-12)
    assert told[0] == pytest.approx(told[1])


def test_a_set_smaller_than_a_step_is_accumulated_too():
    large, small = small_network(), small_network()
    fl.fit(large, small_task(21), **OPTIONS | {"batch_size": 64})
    fl.fit(small, small_task(21), accumulate=4, **OPTIONS | {"batch_size": 16})
    assert_near(large.state_dict(), small.state_dict(), 1e-6)


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_lower_precision_trains_too(amp: str):
    model = small_network(norm=True)
    history = fl.fit(model, small_task(), amp=amp, **OPTIONS | {"epochs": 6})
    assert history["accuracy"].max() > 0.6
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}


def test_accelerates_setting_of_the_precision_counts(monkeypatch: pytest.MonkeyPatch):
    seen = set()

    class Sees(fl.Extra):
        def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> float:
            seen.add(outputs.dtype)
            return 0.0

    for asked in ("no", "bf16", "fp16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
        fl.fit(small_network(), small_task(), extras=[Sees()], **OPTIONS | {"epochs": 1})
    assert seen == {torch.float32, torch.bfloat16, torch.float16}


def test_compiled_it_trains_the_same_weights(monkeypatch: pytest.MonkeyPatch):
    calls = []
    eager = functools.partial(torch.compile, backend="eager")  # all but the code of the kernels
    monkeypatch.setattr(torch, "compile", lambda model: calls.append(model) or eager(model))
    plain, model = small_network(norm=True, dropout=0.2), small_network(norm=True, dropout=0.2)
    names = set(model.state_dict())
    fl.fit(plain, small_task(), **OPTIONS)
    fl.fit(model, small_task(), compile=True, extras=[], **OPTIONS)
    assert calls == [model]
    assert set(model.state_dict()) == names
    assert_near(plain.state_dict(), model.state_dict(), 1e-6)


def test_what_cannot_be_compiled_is_told_and_trained_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def broken(model: nn.Module) -> Callable:
        def forward(images: Tensor) -> Tensor:
            model(images)  # and its batch norms have seen them
            raise RuntimeError("no compiler here\nand more")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    plain, model = small_network(norm=True, dropout=0.2), small_network(norm=True, dropout=0.2)
    fl.fit(plain, small_task(), **OPTIONS)
    with pytest.warns(
        UserWarning, match="Sequential is trained as it is, not compiled: RuntimeError: no compiler here$"
    ):
        fl.fit(model, small_task(), compile=True, **OPTIONS)
    assert_near(plain.state_dict(), model.state_dict(), 0)


@pytest.mark.slow
def test_compiled_for_real():
    plain, model = small_network(norm=True), small_network(norm=True)
    fl.fit(plain, small_task(), **OPTIONS)
    fl.fit(model, small_task(), compile=True, **OPTIONS)
    assert_near(plain.state_dict(), model.state_dict(), 1e-5)


@pytest.mark.parametrize("every", [1, 4, 10])
def test_the_first_loss_that_is_none_is_named_however_seldom_they_are_looked_at(every: int):
    losses, found = Losses(every), None
    values = [1.0, 2.0, float("inf"), float("nan"), 3.0, 4.0]
    for number, value in enumerate(values, 1):
        found = found or losses.add(torch.tensor(value))
        assert (found is None) == (number < max(3, every))
    assert (found or losses.look()) == (3, float("inf"))
    good = Losses(every)
    assert [good.add(torch.tensor(float(n))) for n in range(7)] == [None] * 7
    assert good.look() is None
    assert good.mean == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accumulate": 0}, "accumulate must be a whole number of batches, 1 or more; got 0"),
        ({"accumulate": 1.5}, "accumulate must be a whole number of batches, 1 or more; got 1.5"),
        ({"workers": -1}, "workers must be a whole number >= 0 or 'auto'; got -1"),
        ({"amp": "float8"}, "amp must be one of 'auto', 'off', 'bfloat16', 'float16'; not 'float8'"),
    ],
)
def test_options_out_of_range(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.fit(small_network(), small_task(), **OPTIONS | options)


# Ctrl-C at any moment -------------------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise, also where the tests run in the background, and it would do nothing."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


# Where Ctrl-C meets Python's own code that fetches a tensor from a worker, a socket is left to garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("workers", "keep"), [(0, "best"), (2, "last")])
def test_ctrl_c_at_any_moment_leaves_a_usable_network(tmp_path: Path, workers: int, keep: str):
    task, whole, states = small_task(), small_network(norm=True), [small_network(norm=True).state_dict()]
    options = OPTIONS | {"epochs": 8, "keep": keep, "extras": [Counts()]}

    def note(row: dict) -> None:
        states.append(copy.deepcopy(whole.state_dict()))

    fl.fit(small_network(), task, **OPTIONS)  # what is done once
    started = time.perf_counter()
    fl.fit(whole, task, on_epoch=note, workers=workers, checkpoint=tmp_path / "whole.pt", **options)
    seconds = time.perf_counter() - started
    outcomes = set()
    for number in range(8):
        model, path = small_network(norm=True).eval(), tmp_path / f"{number}.pt"
        timer = threading.Timer(seconds * number / 8, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            history = fl.fit(model, task, checkpoint=path, workers=workers, **options)
            timer.cancel()
        except KeyboardInterrupt:  # before it began, or after it ended
            history = None
        assert not any(module.training for module in model.modules())
        assert not any(module._forward_hooks for module in model.modules())
        assert multiprocessing.active_children() == []
        assert set(os.listdir(tmp_path)) <= {"whole.pt", *(f"{n}.pt" for n in range(number + 1))}
        outcomes.add(None if history is None else history.attrs["interrupted"])
        if history is not None and history.attrs["kept"]:
            assert_near(model.state_dict(), states[history.attrs["kept"]], 0)
            if path.is_file():
                fl.fit(model, task, checkpoint=path, **options)
                assert_near(model.state_dict(), whole.state_dict(), 0)
    assert True in outcomes


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_checkpoint_is_written_comes_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, replace, path = small_network(), os.replace, tmp_path / "run.pt"

    def interrupted(old: Any, new: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        replace(old, new)

    monkeypatch.setattr(os, "replace", interrupted)
    history = fl.fit(model, small_task(), checkpoint=path, **OPTIONS)
    assert (len(history), history.attrs["interrupted"]) == (1, True)
    monkeypatch.undo()
    assert fl.fit(model, small_task(), checkpoint=path, **OPTIONS).attrs["resumed"] == 1


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_the_weights_are_put_back_is_not_lost(monkeypatch: pytest.MonkeyPatch):
    model = small_network()
    load = model.load_state_dict

    def interrupted(state: dict) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        load(state)

    monkeypatch.setattr(model, "load_state_dict", interrupted)
    history = fl.fit(model, small_task(), **OPTIONS)
    assert history.attrs["interrupted"]
    assert len(history) == 2
