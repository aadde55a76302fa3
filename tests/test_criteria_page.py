"""What CRITERIA.md tells authors of a criterion, executed from top to bottom with fewer pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import fpgmlab as fl

PAGE = (Path(__file__).resolve().parent.parent / "CRITERIA.md").read_text()
BLOCKS = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
# What would take minutes: a few pictures, one draw, one budget; and what is looked at below.
SMALLER = {
    "fashion_mnist(holdout=5_000)": "fashion_mnist(holdout=5_000).subset(train=600, val=100, test=100)",
    "macs=[0.5, 0.35], seeds=3, samples=512": "macs=0.6, seeds=1, samples=64, max_samples=100, progress=False",
    "fl.criteria.Reconstruction(task)": "fl.criteria.Reconstruction(task, samples=64)",
    "fl.repair(graph, plan, task)": "fl.repair(graph, plan, task, samples=64, progress=False)",
    "fl.evaluate(": "tested = fl.evaluate(",
    "fl.figures.rank_agreement(": "agreement = fl.figures.rank_agreement(",
    "fl.paper(": "index = fl.paper(",
}


@pytest.mark.slow
def test_every_block_runs_and_the_table_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = "\n".join(BLOCKS)
    for text, other in SMALLER.items():
        assert text in code, text
        code = code.replace(text, other)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(code, "CRITERIA.md", "exec", dont_inherit=True), found)
    graph, table = found["graph"], found["table"]
    assert table["criterion"].tolist() == [
        "FPGM", "directions", "Shrunk(power=0.5)", "Taylor", "Reconstruction(samples=64)", "L1", "L2", "BNGamma",
        "Random",
    ]  # fmt: skip
    assert table["noise"].notna().sum() == len(table) - 1
    scores = fl.score(graph, found["Shrunk"]())
    for name, own in fl.score(graph, "fpgm").items():  # to the power of 1 it is FPGM
        torch.testing.assert_close(scores[name], own)
    assert (tmp_path / "criteria.pdf").read_bytes().startswith(b"%PDF")
    assert found["index"]["left_out"].tolist() == ["", ""]
    assert "directions" in (tmp_path / "figures" / "table_criteria.csv").read_text()
    assert found["tested"]["samples"] == 100


def test_the_gradients_are_those_of_each_filter_set_to_nothing(task: fl.tasks.Classification):
    found: dict = {}
    exec("\n".join(block for block in (BLOCKS[0].split("\ntask")[0], BLOCKS[3].split("\nfl.score")[0])), found)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 3),
    ).eval()  # fmt: skip
    graph = fl.trace(model, task.example_input)
    scores = fl.score(graph, found["Taylor"](task, pictures=64))
    inputs, targets = next(task.train_batches(64, seed=0))
    model.requires_grad_(False).double()

    def loss() -> float:
        return float(torch.nn.functional.cross_entropy(model(inputs.double()), targets))

    whole, step = loss(), 1e-4
    for name in ("0", "2"):
        weight = model[int(name)].weight
        for channel in range(len(weight)):
            kept = weight.clone()
            weight[channel] *= 1 - step
            slope = (whole - loss()) / step
            weight.copy_(kept)
            assert float(scores[name][channel]) == pytest.approx(slope**2, rel=1e-2, abs=1e-9)
