"""Each notebook as a reader runs it: by ``notebooks/run.py``, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kept import notebooks
from tests.notebooks.running import SMALL, check_every_cell_ran, run_afresh


def test_each_notebook_has_small_settings():
    assert set(SMALL) == set(notebooks())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_it_runs_in_a_kernel_of_its_own(name: str, tmp_path: Path):
    run_afresh(name, tmp_path)
    check_every_cell_ran(tmp_path / f"{name}.ipynb")
