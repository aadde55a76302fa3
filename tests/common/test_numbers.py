"""Numbers as arguments: what they must be is said with the argument's name."""

from __future__ import annotations

import numpy as np
import pytest

from fpgmlab.common.numbers import whole_number


def test_whole_numbers_of_any_library_are_ints():
    assert [whole_number("n", n, 0) for n in (0, 3, np.int64(7))] == [0, 3, 7]
    assert type(whole_number("n", np.int64(7))) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.nan])
def test_what_is_none_is_named(value: object):
    with pytest.raises(ValueError, match=r"^batches must be a whole number of at least 1; got "):
        whole_number("batches", value)
