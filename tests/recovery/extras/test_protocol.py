"""What is asked of an extra, in which order, and that it is always ended."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.recovery.extras.extra import begun

QUIET = {"progress": False, "batch_size": 32}


@pytest.mark.parametrize(
    ("extras", "words"),
    [
        (["distill"], "such as fl.EMA.*got 'distill'"),
        ([None], "got None"),
        ([fl.EMA], r"extras must be objects: EMA\(\.\.\.\), not the class itself"),
        (fl.EMA(0.9), "extras must be a list"),
        ("ema", "extras must be a list.*got 'ema'"),
    ],
)
def test_what_would_do_nothing_is_no_extra(task: fl.tasks.Classification, extras: list, words: str):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(TypeError, match=words):
        fl.fit(model, task, 1, extras=extras, progress=False)
    with pytest.raises(TypeError, match=words):
        fl.Fit(extras=extras).check(task)


class Options(fl.Extra):
    """Options whose trainings write down what they are asked."""

    def __init__(self, seen: list[str], name: str = "", fails: str = "", error: type[BaseException] = ValueError):
        self.seen, self.name, self.fails, self.error = seen, name, fails, error

    def begin(self, model: nn.Module, task: fl.tasks.Classification, epochs: int, steps: int) -> fl.RunningExtra:
        self.note(f"begin {epochs} {steps}")
        return Noting(self)

    def note(self, words: str) -> None:
        self.seen.append(f"{self.name}{words}")
        if self.fails and words.startswith(self.fails):
            raise self.error(words)


class Noting(fl.RunningExtra):
    def __init__(self, options: Options) -> None:
        self.options, self.scale = options, nn.Parameter(torch.ones(()))

    def parameters(self) -> list[nn.Parameter]:
        self.options.note("parameters")
        return [self.scale]

    def optimized_by(self, optimizer: torch.optim.Optimizer) -> None:
        assert any(p is self.scale for group in optimizer.param_groups for p in group["params"])
        self.options.note("optimizer")

    def judged(self, model: nn.Module) -> None:
        self.options.note("judged")

    def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        self.options.note("loss")
        return self.scale.square()

    def before_step(self, model: nn.Module, step: int, steps: int) -> None:
        self.options.note(f"before {step}")

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        self.options.note(f"after {step}")

    def before_judging(self, model: nn.Module, judged: nn.Module) -> None:
        assert judged is model
        self.options.note("judging")

    def after_epoch(self, model: nn.Module, row: dict[str, float]) -> bool:
        self.options.note(f"epoch {row['epoch']}")
        return row["epoch"] == 2

    def end(self) -> None:
        self.options.note("end")


def test_each_is_asked_in_its_order_and_may_end_the_training(task: fl.tasks.Classification, tiny: nn.Module):
    seen: list[str] = []
    history = fl.fit(tiny, task, epochs=4, extras=[Options(seen)], **QUIET)
    steps = [
        f"{words} {n}" if words != "loss" else words for n in range(1, 15) for words in ("loss", "before", "after")
    ]
    first, second = steps[:21], steps[21:]
    wanted = [
        "begin 4 28",
        "parameters",
        "optimizer",
        "judged",
        *first,
        "judging",
        "epoch 1",
        *second,
        "judging",
        "epoch 2",
        "end",
    ]
    assert seen == wanted
    assert (len(history), history.attrs["interrupted"]) == (2, False)


def test_parameters_of_an_extra_are_trained(task: fl.tasks.Classification, tiny: nn.Module):
    extra, names = Noting(Options([])), set(tiny.state_dict())
    fl.fit(tiny, task, extras=[extra], **QUIET)
    assert 0 < extra.scale.item() < 0.9
    assert set(tiny.state_dict()) == names


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("fails", ["begin", "parameters", "loss", "before 5", "after 7", "judging", "epoch 1"])
def test_each_that_has_begun_is_ended_last_first(
    task: fl.tasks.Classification, tiny: nn.Module, fails: str, error: type[BaseException]
):
    seen: list[str] = []
    extras = [Options(seen, "a "), Options(seen, "b "), Options(seen, "c ", fails, error)]
    if error is ValueError:
        with pytest.raises(ValueError, match=fails):
            fl.fit(tiny, task, extras=extras, **QUIET)
    else:
        assert fl.fit(tiny, task, extras=extras, **QUIET).attrs["interrupted"]
    ended = [words for words in seen if "end" in words]
    assert ended == (["b end", "a end"] if fails == "begin" else ["c end", "b end", "a end"])


def test_what_an_object_without_begin_has_is_found_by_name(task: fl.tasks.Classification, tiny: nn.Module):
    class Plain:
        """Not a subclass; the three methods, and one more."""

        ended = 0

        def loss(self, model: nn.Module, inputs: Tensor, outputs: Tensor, targets: Tensor) -> float:
            return 0.0

        def before_step(self, model: nn.Module, step: int, steps: int) -> None: ...

        def after_step(self, model: nn.Module, step: int, steps: int) -> None: ...

        def end(self) -> None:
            self.ended += 1

    plain, twin = Plain(), copy.deepcopy(tiny)
    fl.fit(tiny, task, extras=[plain], **QUIET)
    fl.fit(twin, task, **QUIET)
    assert plain.ended == 1
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), twin.parameters(), strict=True))
    with begun([plain], tiny, task, 1, 7) as running:
        assert (list(running[0].parameters()), running[0].judged(tiny), running[0].state_dict()) == ([], None, {})


def test_two_that_want_to_be_judged_are_told(task: fl.tasks.Classification, tiny: nn.Module):
    with pytest.raises(ValueError, match="2 of the extras want another network judged"):
        fl.fit(tiny, task, extras=[fl.EMA(0.5), fl.EMA(0.9)], **QUIET)
