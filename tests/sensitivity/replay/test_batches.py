"""Parts of the data: none twice, none left out, none corrupted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fpgmlab.sensitivity.replay.batches import Reader, cut, cuts
from tests.sensitivity.small import small_task


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 30), st.data())
def test_cuts_cover_everything_once_wherever_they_begin(total: int, batch_size: int, limit: int, data: st.DataObject):
    whole = list(cuts(0, total, batch_size, limit))
    assert [i for start, end in whole for i in range(start, end)] == list(range(total))
    for start, end in whole:
        assert 0 < end - start <= limit
        assert start // batch_size == (end - 1) // batch_size
    number = data.draw(st.integers(0, len(whole)))
    done = whole[number][0] if number < len(whole) else total
    assert list(cuts(done, total, batch_size, limit)) == whole[number:]


def test_parts_are_the_data_in_any_order():
    task = small_task(25)
    reader = Reader(task, 10, 25)
    for start, end in [(0, 4), (4, 10), (20, 25), (10, 20), (0, 10), (21, 22)]:
        images, labels = reader.read(start, end)
        assert torch.equal(images, task.val.tensors[0][start:end])
        assert torch.equal(labels, task.val.tensors[1][start:end])


class Short:
    """Gives less than it promises."""

    def val_batches(self, batch_size: int, max_samples: int):
        yield torch.zeros(batch_size, 1), None
        yield torch.zeros(1, 1), None


def test_data_that_are_fewer_than_promised_are_named():
    with pytest.raises(ValueError, match=r"val_batches\(4, 12\) must give 4 samples after the first 4; got 1"):
        Reader(Short(), 4, 12).read(4, 8)


def test_targets_are_cut_by_sample():
    x, y = torch.arange(6), torch.arange(12).reshape(6, 2)
    for value, part in [
        (y, y[2:4]),
        ({"a": x, "b": {"c": y}}, {"a": x[2:4], "b": {"c": y[2:4]}}),
        ([x, y], [x[2:4], y[2:4]]),
        ((x, {"c": y}), (x[2:4], {"c": y[2:4]})),
        ([torch.zeros(n, 4) for n in range(6)], [torch.zeros(n, 4) for n in (2, 3)]),
    ]:
        torch.testing.assert_close(cut(value, 2, 4, 6), part)
        assert cut(value, 0, 6, 6) is value
    assert cut(list("abcdef"), 2, 4, 6) == ["c", "d"]
    assert cut(None, 2, 4, 6) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(7, 6), r"its Tensor \(7, 6\) cannot be cut"),
        (torch.zeros(()), r"its Tensor \(\) cannot be cut"),
        ([torch.zeros(6)] * 6, "its list cannot be cut"),  # six samples of six, or six fields?
        (["a"] * 5, "its list cannot be cut"),
        ({"boxes": torch.zeros(9, 4)}, r"its Tensor \(9, 4\) cannot be cut"),
        ("labels", "its str cannot be cut"),
    ],
)
def test_what_cannot_be_cut_is_not_corrupted(value: object, words: str):
    with pytest.raises(ValueError, match=words):
        cut(value, 2, 4, 6)
    assert cut(value, 0, 6, 6) is value
