"""Distillation: zero at the teacher, in closed form, and a pull towards it; for logits, detectors and anything else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.recovery.extras.distilling.distances import relative_difference
from fpgmlab.tasks import Detection, UltralyticsHead, YOLOv5Head
from tests.networks import busy, loss_options
from tests.tasks.detection.made import Squares

HEAD = YOLOv5Head(options=loss_options(64 * 64, 3, (4.0, 1.0, 0.4)))


def maps(classes: int = 3, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, ...]:
    """Return raw maps of two 64-pixel pictures."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(2, 3 * (5 + classes), side, side) for side in (8, 4, 2)]
    return tuple(scale * torch.randn(size, generator=generator) for size in sizes)


@pytest.fixture
def detector() -> nn.Module:
    """A YOLOv5 that is sure of some objects."""
    return busy(fl.models.yolov5("n", classes=["red", "green"], width=0.25)).eval()


@pytest.fixture
def task() -> Detection:
    return Detection(Squares(8), Squares(4, seed=1), size=64)


# The detector's term -------------------------------------------------------------------------------------------------


def bernoulli(meant: float, said: float) -> float:
    """Return KL(meant || said) of two probabilities."""
    return meant * math.log(meant / said) + (1 - meant) * math.log((1 - meant) / (1 - said))


def one_anchor(objectness: float, classes: Sequence[float], centre: float = 0.5, side: float = 0.5) -> Tensor:
    """Return the raw map of one cell with one anchor whose numbers are these probabilities."""
    numbers = torch.tensor([centre, 0.5, side, 0.5, objectness, *classes], dtype=torch.float64)
    return numbers.logit().float().view(1, -1, 1, 1)


def closed_form(student: dict, teacher: dict, ciou: float, level: float) -> float:
    sure, said = teacher["objectness"], student["objectness"]
    pairs = list(zip(teacher["classes"], student["classes"], strict=True))
    classes = sum(bernoulli(t, s) for t, s in pairs) / len(pairs) if len(pairs) > 1 else 0.0
    mean = sure / max(1.0, sure)  # of one anchor, by the teacher's objectness
    return level * bernoulli(sure, said) + mean * (0.05 * (1 - ciou) + 0.5 * classes)


@pytest.mark.parametrize("classes", [(0.3, 0.8), (0.4,)])
@pytest.mark.parametrize("sure", [0.9, 0.2])
def test_it_is_the_closed_form_for_one_anchor(classes: tuple[float, ...], sure: float):
    """The teacher's box is 8 x 8, the student's as high and half as wide, about the same centre: IoU is 1/2."""
    options = loss_options(8 * 8, len(classes), (4.0,))
    head = YOLOv5Head((((8.0, 8.0),),), (8,), options=options)
    teacher = {"objectness": sure, "classes": classes}
    student = {"objectness": 0.5, "classes": tuple(0.5 for _ in classes)}
    shape = 4 / math.pi**2 * (math.atan(1) - math.atan(0.5)) ** 2
    ciou = 0.5 - shape**2 / (0.5 + shape)  # less the term for another shape
    value = head.imitation([one_anchor(**student, side=math.sqrt(0.125))], [one_anchor(**teacher)])
    assert float(value) == pytest.approx(closed_form(student, teacher, ciou, 4.0), rel=1e-5)


def test_anchors_count_as_much_as_the_teacher_is_sure():
    options = loss_options(3 * 8 * 8, 2, (1.0,), box=0.0, objectness=0.0)
    head = YOLOv5Head((((8.0, 8.0),),), (8,), options=options)
    sure, told = [0.9, 0.6, 0.01], [0.2, 0.7, 0.9]
    wanted = torch.cat([one_anchor(o, (c, 0.5)) for o, c in zip(sure, told, strict=True)], dim=3)
    outputs = torch.cat([one_anchor(0.5, (0.5, 0.5))] * 3, dim=3)
    terms = [o * bernoulli(c, 0.5) / 2 for o, c in zip(sure, told, strict=True)]
    assert float(head.imitation([outputs], [wanted])) == pytest.approx(0.5 * sum(terms) / sum(sure), rel=1e-5)
    silent = torch.cat([one_anchor(1e-4, (c, 0.5)) for c in told], dim=3)
    assert float(head.imitation([outputs], [silent])) < 1e-4  # it asks for nothing where it sees nothing


@pytest.mark.parametrize("classes", [1, 3])
def test_it_is_zero_at_the_teacher_and_above_elsewhere(classes: int):
    wanted = maps(classes, scale=1.0)
    outputs = [level.clone().requires_grad_() for level in wanted]
    value = HEAD.imitation(outputs, wanted)
    assert value.item() == 0
    value.backward()
    assert max(float(level.grad.abs().max()) for level in outputs) < 1e-6
    assert float(HEAD.imitation(maps(classes, seed=1), wanted)) > 0.1
    lasts = [level.clone() for level in wanted]
    for level in lasts:
        level.unflatten(1, (3, -1))[:, :, 5:] += 1
    assert (float(HEAD.imitation(lasts, wanted)) > 0.01) == (classes > 1)  # a single class is not trained


def test_its_gradient_leads_to_the_teacher():
    wanted = maps()
    outputs = [level.requires_grad_() for level in maps(seed=1)]
    optimizer = torch.optim.Adam(outputs, lr=0.2)
    before = HEAD.imitation(outputs, wanted).item()
    for _ in range(60):
        optimizer.zero_grad()
        HEAD.imitation(outputs, wanted).backward()
        optimizer.step()
    assert HEAD.imitation(outputs, wanted).item() < 0.1 * before
    assert all(level.requires_grad is False for level in wanted)


def test_layout_and_precision_do_not_matter():
    outputs, wanted = maps(seed=1), maps()
    value = HEAD.imitation(outputs, wanted)
    last = tuple(level.contiguous(memory_format=torch.channels_last) for level in outputs)
    torch.testing.assert_close(HEAD.imitation(last, wanted), value)
    halves = [tuple(level.bfloat16() for level in levels) for levels in (outputs, wanted)]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = HEAD.imitation(*halves)
        assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, HEAD.imitation(*([x.float() for x in levels] for levels in halves)))


def test_maps_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"level by level; the student gives .*\(2, 24, 2, 2\)"):
        HEAD.imitation(maps(), maps()[:2])
    with pytest.raises(ValueError, match=r"the teacher \[\(2, 27, 8, 8\)"):
        HEAD.imitation(maps(3), maps(4))
    with pytest.raises(ValueError, match=r"maps must be \(batch, 3 \* \(5 \+ classes\), rows, columns\), .* 3 levels"):
        HEAD.imitation(maps()[:2], maps()[:2])


def test_a_pruned_detector_comes_nearer_to_its_teacher(detector: nn.Module, task: Detection):
    graph = fl.trace(detector, task.example_input)
    small = fl.prune(graph, fl.Plan.uniform(graph, fl.score(graph, "l2"), 0.4, multiple=1))
    state = copy.deepcopy(detector.state_dict())
    images = next(task.val_batches(4))[0]

    @torch.no_grad()
    def distance(model: nn.Module) -> float:
        return float(task.head.imitation(model.eval()(images), detector(images)))

    silent = Detection(task.train, Squares(1), size=64, head=NoLoss())  # only the teacher teaches
    before = distance(small)
    extra = fl.Distill(detector, weight=1.0, compare=task.head.imitation)
    options = {
        "lr": 0.02,
        "optimizer": "adamw",
        "weight_decay": 0.0,
        "batch_size": 4,
        "progress": False,
        "keep": "last",
    }
    fl.fit(small, silent, epochs=8, extras=[extra], **options)
    assert distance(small) < 0.7 * before
    assert all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())


def test_a_detectors_own_kind_is_the_heads_imitation(detector: nn.Module, task: Detection):
    images, targets = next(task.train_batches(2))
    student = fl.models.yolov5("n", classes=["red", "green"], width=0.25)
    outputs = student(images)
    running = fl.Distill(detector, kind="detector", weight=0.3).begin(student, task, 1, 4)
    with torch.no_grad():
        wanted = detector(images)
    value = running.loss(student, images, outputs, targets)
    torch.testing.assert_close(value, 0.3 * task.head.imitation(outputs, wanted))
    running.end()


def test_a_task_whose_head_imitates_nothing_is_told(detector: nn.Module, task: Detection):
    pictures = fl.tasks.Classification(*[[(torch.rand(3, 64, 64), 0)] * 2] * 2, classes=2)
    with pytest.raises(ValueError, match=r"Classification tells nothing .* \(it has no head\): that is task.head.imit"):
        fl.Distill(detector, kind="detector").begin(detector, pictures, 1, 1)
    other = Detection(task.train, task.val, size=64, head=UltralyticsHead(("red", "green")))
    with pytest.raises(ValueError, match=r"Detection tells nothing .* \(its head is UltralyticsHead\)"):
        fl.Distill(detector, kind="detector").begin(detector, other, 1, 1)


@pytest.mark.parametrize("compare", [HEAD.imitation, None])
def test_it_trains_in_bfloat16(detector: nn.Module, compare: Callable | None):
    task, student = Detection(Squares(2), Squares(1), size=64), copy.deepcopy(detector)
    history = fl.fit(student, task, amp="bfloat16", extras=[fl.Distill(detector, compare=compare)], progress=False)
    assert math.isfinite(history["train_loss"].iloc[0])
    assert not torch.equal(student.model[0].conv.weight, detector.model[0].conv.weight)


class NoLoss(YOLOv5Head):
    """A head without a loss of its own."""

    def loss(self, outputs: Sequence[Tensor], targets: Tensor) -> Tensor:
        return sum(level.sum() for level in outputs) * 0.0


# Anything else -------------------------------------------------------------------------------------------------------


def test_the_relative_difference_is_that_over_the_teachers_variance():
    wanted = {"a": torch.tensor([1.0, 3.0]), "b": (torch.tensor([[10.0, 30.0], [10.0, 30.0]]), torch.tensor([1, 2]))}
    outputs = {"b": (torch.tensor([[20.0, 20.0], [20.0, 20.0]]), torch.tensor([7, 7])), "a": torch.tensor([1.0, 5.0])}
    assert float(relative_difference(outputs, wanted)) == pytest.approx((2 / 1 + 100 / 100) / 2)
    assert float(relative_difference(wanted, wanted)) == 0
    constant = torch.full((3,), 2.0)
    assert float(relative_difference(constant + 1, constant)) == 1.0
    halves = relative_difference(outputs["a"].bfloat16(), wanted["a"].bfloat16())
    assert (halves.dtype, float(halves)) == (torch.float32, 2.0)


class Pair:
    """Outputs as an object."""

    def __init__(self, boxes: Tensor, scores: Tensor) -> None:
        self.boxes, self.scores = boxes, scores


@pytest.mark.parametrize(
    ("outputs", "wanted", "words"),
    [
        (
            torch.zeros(2, 3, 4),
            torch.zeros(2, 5, 4),
            r"gives outputs \(2, 3, 4\); the teacher outputs \(2, 5, 4\)",
        ),
        ([torch.zeros(2)], [torch.zeros(2)] * 2, r"the teacher outputs\[0\] \(2,\), outputs\[1\] \(2,\)"),
        ({"a": torch.zeros(2)}, {"b": torch.zeros(2)}, r"gives outputs\['a'\] \(2,\); the teacher outputs\['b'\]"),
        ([torch.arange(2)], [torch.arange(2)], r"the student gives none; the teacher none.*Distill\(teacher, compare="),
        (Pair(torch.zeros(2), torch.zeros(1)), Pair(torch.zeros(2), torch.zeros(2)), r"outputs.1 \(1,\); the teacher"),
    ],
)
def test_other_structures_and_shapes_are_told(outputs: object, wanted: object, words: str):
    with pytest.raises(ValueError, match=words):
        relative_difference(outputs, wanted)


def test_without_a_function_a_detectors_maps_are_compared_number_by_number(detector: nn.Module):
    images = torch.rand(2, 3, 64, 64)
    student = copy.deepcopy(detector).train()
    outputs = student(images)
    value = fl.Distill(detector, weight=0.3).loss(student, images, outputs, None)
    with torch.no_grad():
        wanted = detector(images)
    terms = [((a - b) ** 2).mean() / b.var(correction=0) for a, b in zip(outputs, wanted, strict=True)]
    torch.testing.assert_close(value, 0.3 * sum(terms) / 3)
    value.backward()
    assert all(p.grad is None for p in detector.parameters())


def test_an_extra_can_be_read(detector: nn.Module):
    extra = fl.Distill(detector, weight=1.0, compare=HEAD.imitation)
    assert repr(extra) == "Distill(teacher=YOLOv5, temperature=4.0, weight=1.0, compare=YOLOv5Head.imitation)"
    assert repr(fl.Distill(detector)) == "Distill(teacher=YOLOv5, temperature=4.0, weight=0.5)"
    with pytest.raises(TypeError, match="compare must be a function of two networks' outputs; not 'imitation'"):
        fl.Distill(detector, compare="imitation")


# How many examples in a step -----------------------------------------------------------------------------------------


def test_a_detector_is_given_small_batches(detector: nn.Module):
    seen = []

    class Counted(Detection):
        def train_batches(self, batch_size: int = 16, seed: int = 0):
            seen.append(("train", batch_size))
            return super().train_batches(batch_size, seed)

        def val_batches(self, batch_size: int = 16, max_samples: int | None = None):
            seen.append(("val", batch_size))
            return super().val_batches(batch_size, max_samples)

    task = Counted(Squares(3), Squares(64), size=64)  # of fewer, fewer are measured at once
    graph = fl.trace(detector, task.example_input)
    graph = fl.trace(detector, task.example_input, protect=[name for name in graph if name != "model.0.conv"])
    curves_of = {"ratios": [0.5], "metrics": ["change"], "progress": False}
    for run, expected in (
        (lambda: fl.fit(copy.deepcopy(detector), task, keep="last", progress=False), {("train", 8), ("val", 16)}),
        (
            lambda: fl.fit(copy.deepcopy(detector), task, batch_size=2, keep="last", progress=False),
            {("train", 2), ("val", 16)},
        ),
        (lambda: fl.recalibrate(copy.deepcopy(detector), task), {("train", 8)}),
        (lambda: fl.evaluate(detector, task), {("val", 16)}),
        (lambda: fl.sweep(graph, fl.score(graph), task, **curves_of), {("val", 16)}),
    ):
        seen.clear()
        run()
        assert set(seen) == expected


def test_a_set_smaller_than_a_batch_is_one_batch(detector: nn.Module):
    steps = []
    fl.fit(detector, Detection(Squares(3), Squares(2), size=64), epochs=2, progress=False, on_step=steps.append)
    assert [row["step"] for row in steps] == [1, 2]


def test_a_task_without_any_batch_is_told(task: Detection, detector: nn.Module):
    class Nothing(Detection):
        def train_batches(self, batch_size: int = 16, seed: int = 0):
            return iter(())

    with pytest.raises(ValueError, match=r"task.train_batches\(8\) gave no batch: choose a smaller batch_size"):
        fl.fit(detector, Nothing(task.train, task.val, size=64), progress=False)
