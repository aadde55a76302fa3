"""Boxes: decoding against a loop, suppression by hand, letterboxing there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import batched_nms

import fpgmlab as fl
from fpgmlab.models.boxes import clipped, corners, decode, decode_sure, detect, suppress, to_input
from fpgmlab.models.decoding import encode, sides_of
from fpgmlab.models.letterbox import GREY, letterbox


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_decoding_is_what_a_loop_over_cells_gives():
    maps = [torch.randn(2, 3 * 7, 2, 3), torch.randn(2, 3 * 7, 1, 2)]
    anchors = torch.rand(2, 3, 2) * 50
    strides = (8, 16)
    expected = [[], []]
    for raw, sides, stride in zip(maps, anchors.tolist(), strides, strict=True):
        for picture in range(2):
            for anchor, (width, height) in enumerate(sides):
                for row in range(raw.shape[2]):
                    for column in range(raw.shape[3]):
                        s = [sigmoid(v) for v in raw[picture, 7 * anchor : 7 * anchor + 7, row, column].tolist()]
                        centre = [(2 * s[0] - 0.5 + column) * stride, (2 * s[1] - 0.5 + row) * stride]
                        size = [(2 * s[2]) ** 2 * width, (2 * s[3]) ** 2 * height]
                        expected[picture].append(centre + size + s[4:])
    torch.testing.assert_close(decode(maps, anchors, strides), torch.tensor(expected))


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.5, 0.999])
def test_decoding_the_sure_ones_gives_the_same_boxes(confidence: float):
    random = torch.Generator().manual_seed(0)
    maps = [2 * torch.randn(3, 14, 64 // s, 96 // s, generator=random) for s in (8, 16)]
    anchors = torch.rand(2, 2, 2, generator=random) * 30
    every = decode(maps, anchors, (8, 16))
    sure = decode_sure(maps, anchors, (8, 16), confidence)
    assert [len(of_one) for of_one in sure] == [int((of_one[:, 4] >= confidence).sum()) for of_one in every]
    for ours, of_one in zip(sure, every, strict=True):
        torch.testing.assert_close(ours, of_one[of_one[:, 4] >= confidence])  # but for the sigmoid's last digits
    for options in ({"several": True}, {}):
        for one, two in zip(suppress(sure, confidence, **options), suppress(every, confidence, **options), strict=True):
            torch.testing.assert_close(one, two)


@pytest.mark.parametrize("classes", [1, 3])
def test_maps_are_found_again_from_the_boxes(classes: int):
    generator = torch.Generator().manual_seed(0)
    anchors, strides = torch.rand(2, 3, 2, generator=generator) * 40 + 4, (8, 16)
    maps = [3 * torch.randn(2, 3 * (5 + classes), 64 // s, 64 // s, generator=generator) for s in strides]
    boxes = decode(maps, anchors, strides)
    found = encode(boxes, anchors, strides, 64)
    torch.testing.assert_close(decode(found, anchors, strides), boxes, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(found, maps, strict=True):
        ours, theirs = (raw.unflatten(1, (3, -1)) for raw in (ours, theirs))
        there = 5 if classes == 1 else 5 + classes  # the probability of a single class is told to be 1
        torch.testing.assert_close(ours[:, :, :there], theirs[:, :, :there], rtol=1e-2, atol=1e-2)


def test_probabilities_that_were_rounded_stay_finite():
    anchors = torch.full((1, 1, 2), 8.0)
    sure = torch.full((1, 7, 2, 2), 200.0)
    for maps in (sure, -sure):
        (found,) = encode(decode([maps], anchors, (8,)), anchors, (8,), 16)
        assert bool(found.isfinite().all())
        assert bool((found.sign() == maps.sign()).all())


@pytest.mark.parametrize(("anchors", "strides"), [(3, (8, 16, 32)), (2, (4, 8)), (1, (8,)), (3, (64, 8, 16, 32))])
def test_the_side_of_a_square_is_told_by_its_boxes(anchors: int, strides: tuple[int, ...]):
    squares = {sum(anchors * (side // s) ** 2 for s in strides): side for side in range(64, 800, max(strides))}
    for count in range(min(squares), max(squares) + 1):
        assert sides_of(count, anchors, strides) == squares.get(count)
    assert sides_of(0, anchors, strides) is None


def test_corners():
    assert corners(torch.tensor([[10.0, 20, 4, 6]])).tolist() == [[8, 17, 12, 23]]


def decoded(*rows: list[float]) -> Tensor:
    return torch.tensor([rows])


def test_of_two_boxes_of_a_class_that_overlap_the_stronger_stays():
    found = suppress(
        decoded(
            [50, 50, 20, 20, 0.6, 0.9, 0.1],
            [51, 50, 20, 20, 0.9, 0.9, 0.1],  # on top of the first, and surer
            [50, 50, 20, 20, 0.8, 0.1, 0.9],  # another class
            [150, 50, 20, 20, 0.9, 0.5, 0.1],  # elsewhere
            [250, 50, 20, 20, 0.4, 0.5, 0.5],  # 0.2: not sure enough
        )
    )[0]
    torch.testing.assert_close(found["scores"], torch.tensor([0.81, 0.72, 0.45]))
    assert found["labels"].tolist() == [0, 1, 0]
    assert found["boxes"].tolist() == [[41, 40, 61, 60], [40, 40, 60, 60], [140, 40, 160, 60]]


def test_the_overlap_allowed_and_the_limit():
    boxes = decoded([50, 50, 20, 20, 0.9, 1, 0], [60, 50, 20, 20, 0.8, 1, 0])  # IoU 1/3
    assert len(suppress(boxes, iou=0.34)[0]["scores"]) == 2
    assert len(suppress(boxes, iou=0.33)[0]["scores"]) == 1
    assert suppress(boxes, limit=1)[0]["scores"].tolist() == [pytest.approx(0.9)]
    assert suppress(boxes.flip(1), iou=0.9, candidates=1)[0]["scores"].tolist() == [pytest.approx(0.9)]


def test_a_box_may_be_of_several_classes_on_request():
    boxes = decoded([50, 50, 20, 20, 1.0, 0.7, 0.6])
    assert suppress(boxes)[0]["labels"].tolist() == [0]
    assert suppress(boxes, several=True)[0]["labels"].tolist() == [0, 1]


def test_with_one_class_the_objectness_is_the_score():
    assert suppress(decoded([50, 50, 20, 20, 0.8, 0.5]))[0]["scores"].tolist() == [pytest.approx(0.8)]


def test_detections_end_at_the_inputs_edge():
    boxes = torch.tensor([[-3.0, 4, 10, 20], [50, 60, 70, 80], [1, 2, 3, 4]])
    found = clipped([{"boxes": boxes, "scores": torch.tensor([0.3, 0.2, 0.1])}], 30, 60)[0]
    assert found["boxes"].tolist() == [[0, 4, 10, 20], [1, 2, 3, 4]]  # the second lies below
    assert found["scores"].tolist() == [pytest.approx(0.3), pytest.approx(0.1)]


def test_the_probability_of_a_single_class_is_1():
    maps, anchors = [torch.randn(2, 3 * 6, 2, 3)], torch.rand(1, 3, 2) * 50
    boxes = decode(maps, anchors, (8,))
    assert (boxes[..., 5] == 1).all()
    others = [torch.cat([maps[0].unflatten(1, (3, 6)), torch.randn(2, 3, 1, 2, 3)], dim=2).flatten(1, 2)]
    torch.testing.assert_close(boxes[..., :5], decode(others, anchors, (8,))[..., :5])  # rows of another length


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_boxes_are_exact_whatever_the_maps_precision(dtype: torch.dtype):
    maps, anchors = [torch.randn(1, 3 * 7, 60, 80).to(dtype)], torch.rand(1, 3, 2) * 50
    boxes, exact = decode(maps, anchors, (8,)), decode([maps[0].float()], anchors, (8,))
    assert torch.equal(boxes, exact)
    (sure,) = decode_sure(maps, anchors, (8,), 0.0)
    torch.testing.assert_close(sure, exact[0])


def test_pictures_keep_apart_and_may_have_nothing():
    both = torch.cat((decoded([50, 50, 20, 20, 0.9, 1, 0]), decoded([50, 50, 20, 20, 0.1, 1, 0])))
    first, second = suppress(both)
    assert (len(first["boxes"]), second["boxes"].shape, second["labels"].dtype) == (1, (0, 4), torch.int64)


sides = st.integers(1, 300)


@given(width=sides, height=sides, size=st.sampled_from([32, 96, 128]), square=st.booleans(), enlarge=st.booleans())
def test_boxes_go_there_and_back(width: int, height: int, size: int, square: bool, enlarge: bool):
    picture = np.zeros((height, width, 3), np.uint8)
    filled, placement = letterbox(picture, size, square=square, enlarge=enlarge)
    assert all(n % 32 == 0 and 0 < n <= size for n in filled.shape[:2])
    assert not square or filled.shape == (size, size, 3)
    boxes = torch.tensor([[0, 0, width, height], [width / 3, height / 4, width / 2, height]], dtype=torch.double)
    placed = placement.place(boxes)
    torch.testing.assert_close(placement.restore(placed), boxes)
    left, top, right, bottom = placed[0].round().long().tolist()
    assert not filled[top:bottom, left:right].any()  # the black picture is where the box of all of it goes,
    filled[top:bottom, left:right] = GREY
    assert (filled == GREY).all()  # and all around is grey
    assert enlarge or (right - left <= width and bottom - top <= height)


def test_a_spot_is_where_its_box_goes():
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[30:60, 40:80] = 255
    filled, placement = letterbox(picture, 320)
    assert filled.shape == (192, 320, 3)
    left, top, right, bottom = placement.place(torch.tensor([[40.0, 30, 80, 60]])).round().long()[0].tolist()
    assert (left, top, right, bottom) == (80, 66, 160, 126)
    assert (filled[top + 2 : bottom - 2, left + 2 : right - 2] > 250).all()
    assert (filled[top + 2 : bottom - 2, : left - 2] == 0).all()


def test_boxes_end_at_the_pictures_edge():
    _, placement = letterbox(np.zeros((50, 100, 3), np.uint8), 64, square=True)
    assert placement.restore(torch.tensor([[-10.0, -10, 100, 100]])).tolist() == [[0, 0, 100, 50]]


@pytest.mark.parametrize(
    "picture",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)],
    ids=["grey", "alpha", "float", "empty"],
)
def test_other_arrays_are_refused(picture: np.ndarray):
    with pytest.raises(ValueError, match=r"must be \(height, width, 3\) uint8, RGB; got .*convert"):
        letterbox(picture)


@pytest.mark.parametrize("size", [320.0, "64", (64, 64), 0, -32])
def test_a_size_that_is_none_is_refused(size: object):
    with pytest.raises(ValueError, match="size must be a multiple of 32 > 0; got "):
        letterbox(np.zeros((9, 9, 3), np.uint8), size)


def test_a_picture_of_pil_is_taken_as_it_is():
    picture = Image.new("RGB", (9, 5), (0, 51, 255))
    assert letterbox(picture, 32)[0].shape == (32, 32, 3)


def test_a_size_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="size must be a multiple of 32 > 0; got 100"):
        letterbox(np.zeros((9, 9, 3), np.uint8), 100)


def test_the_input_is_in_0_to_1_with_channels_first():
    x = to_input([np.full((32, 64, 3), (0, 51, 255), np.uint8)])
    assert x.shape == (1, 3, 32, 64)
    assert x[0, :, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


class OneBox(nn.Module):
    """Says that there is one object, in the cell of the second column and first row."""

    strides = (32,)
    anchors = torch.tensor([[[32.0, 16.0]]])

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert not self.training
        raw = torch.full((len(x), 6, x.shape[2] // 32, x.shape[3] // 32), -9.0)
        raw[:, :4, 0, 1] = 0.0  # the middle of the cell, the size of the anchor
        raw[:, 4, 0, 1] = 9.0
        return (raw,)


def test_what_is_found_lies_in_the_picture_and_the_model_stays_in_its_mode():
    model = OneBox().train()
    found = detect(model, np.zeros((64, 128, 3), np.uint8), 64)  # half the size: 64 x 32
    assert found["boxes"].tolist() == [[64, 16, 128, 48]]
    assert found["labels"].tolist() == [0]
    assert model.training


def test_a_network_of_the_zoo_detects():
    model = fl.models.yolov5("n", classes=["a", "b"])
    found = detect(model, np.zeros((50, 70, 3), np.uint8), 64, confidence=0.0)
    assert len(found["boxes"]) > 0
    assert bool((found["boxes"] >= 0).all())
    assert bool((found["boxes"] <= torch.tensor([70, 50, 70, 50])).all())


def test_boxes_that_are_no_numbers_are_no_detections():
    sound = [50, 50, 20, 20, 0.9, 1, 0]
    odd = [[math.nan if i == n else v for n, v in enumerate(sound)] for i in range(6)]
    odd += [[math.inf if i == n else v for n, v in enumerate(sound)] for i in range(4)]
    for several in (False, True):
        found = suppress(decoded(*odd, sound), several=several)[0]
        assert found["boxes"].tolist() == [[40, 40, 60, 60]]


def test_thousands_of_boxes_are_limited():
    many = torch.rand(1, 20_000, 7) * torch.tensor([640, 640, 9, 9, 1, 1, 1])
    assert len(suppress(many, 0.0, several=True)[0]["boxes"]) == 300
    assert len(suppress(torch.zeros(1, 0, 7))[0]["boxes"]) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 400), st.integers(1, 40), st.sampled_from([20, 100, 600]))
def test_a_limit_leaves_the_first_of_all_that_stay(seed: int, count: int, limit: int, size: int):
    random = torch.Generator().manual_seed(seed)  # the smaller the size, the more boxes overlap
    rows = torch.rand(1, count, 8, generator=random) * torch.tensor([size, size, 40, 40, 1, 1, 1, 1])
    scores = (rows[0, :, 4:5] * rows[0, :, 5:]).max(dim=1)
    keep = batched_nms(corners(rows[0, :, :4]), scores.values, scores.indices, 0.45)[:limit]
    (found,) = suppress(rows, 0.0, limit=limit)
    assert torch.equal(found["boxes"], corners(rows[0, keep, :4]))
    assert torch.equal(found["labels"], scores.indices[keep])


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (torch.zeros(5, 7), {}, r"decoded must be \(batch, boxes, 5 \+ classes\), of decode; got \(5, 7\)"),
        (torch.zeros(1, 5, 5), {}, r"got \(1, 5, 5\)"),
        ([torch.zeros(1, 21, 2, 2)], {}, r"got \[\(1, 21, 2, 2\)\]"),
        (torch.zeros(1, 5, 7), {"confidence": 25}, "confidence must be from 0 to 1; got 25"),
        (torch.zeros(1, 5, 7), {"iou": 45}, "iou must be from 0 to 1; got 45"),
    ],
)
def test_what_cannot_be_suppressed_is_told(given: object, options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        suppress(given, **options)


def test_broken_and_other_networks_are_told():
    model = fl.models.yolov5("n", classes=2)
    nn.init.constant_(model.model[3].conv.weight, math.nan)
    with pytest.raises(ValueError, match=r"YOLOv5 gives numbers that are infinite or none \(NaN\)"):
        detect(model, np.zeros((50, 70, 3), np.uint8), 64)
    with pytest.raises(TypeError, match=r"must give raw maps and have anchors and strides, .*; got ResNet"):
        detect(fl.models.resnet20(), np.zeros((50, 70, 3), np.uint8), 64)
