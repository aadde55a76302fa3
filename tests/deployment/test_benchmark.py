"""Benchmarks: a row for each network and runtime, with numbers that hold or the reason why there are none."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.deployment.benchmarking.rounds import interleaved, unsteady
from tests.networks import busy

COLUMNS = [
    "name", "runtime", "median_ms", "low_ms", "high_ms", "throughput", "relative", "memory", "bytes", "parity",
    "version", "note",
]  # fmt: skip


def network(channels: int = 13) -> nn.Module:
    torch.manual_seed(0)
    return busy(
        nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, 7, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 3),
        )
    )  # fmt: skip


def affinities() -> set[frozenset[int]]:
    return {frozenset(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")}


@pytest.fixture(scope="module")
def frame() -> Iterator[pd.DataFrame]:
    before, threads = affinities(), torch.get_num_threads()
    model = network().train()
    yield fl.benchmark(
        {"wide": model, "narrow": network(5)}, torch.randn(2, 3, 12, 12), threads=1, rounds=3,
        runtimes=["torch", "onnxruntime", "openvino", "ncnn"],
    )  # fmt: skip
    assert model.training
    assert (affinities(), torch.get_num_threads()) == (before, threads)


def test_a_row_for_each_network_and_runtime(frame: pd.DataFrame):
    assert frame.columns.tolist() == COLUMNS
    assert list(zip(frame["name"], frame["runtime"], strict=True)) == [
        (name, runtime) for name in ("wide", "narrow") for runtime in ("torch", "onnxruntime", "openvino", "ncnn")
    ]
    assert (frame["version"] != "").all()


def test_the_numbers_are_those_of_what_ran(frame: pd.DataFrame):
    ran = frame[frame["runtime"] != "ncnn"]
    assert (ran["note"] == "").all()
    assert (ran["parity"] <= 1e-5).all()
    assert ((ran["low_ms"] <= ran["median_ms"]) & (ran["median_ms"] <= ran["high_ms"])).all()
    np.testing.assert_allclose(ran["throughput"], 2000 / ran["median_ms"])
    assert (ran[ran["name"] == "wide"]["relative"] == 1).all()
    weights = sum(tensor.nbytes for tensor in network().state_dict().values())
    assert ran.iloc[0]["bytes"] == weights
    assert (ran[ran["name"] == "wide"]["bytes"] >= 0.9 * weights).all()
    assert (ran["memory"] > 0).all()


def test_what_a_runtime_cannot_take_is_a_row_with_the_reason(frame: pd.DataFrame):
    missing = frame[frame["runtime"] == "ncnn"]
    assert (missing["note"] == "ncnn runs 1 example at a time; there are 2").all()
    numbers = [column for column in COLUMNS if column not in ("name", "runtime", "version", "note")]
    assert missing[numbers].isna().all(axis=None)


class Sorted(nn.Module):
    """An operation that ncnn does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sort(1)[0]


def test_an_operation_that_is_lacking_is_named():
    row = fl.benchmark({"sorted": Sorted()}, torch.randn(1, 2, 3), runtimes=["ncnn"], rounds=1, memory=False).iloc[0]
    assert row["note"].startswith("ncnn has no aten::sort")
    assert np.isnan(row["median_ms"])


def test_files_are_run_as_they_are(tmp_path: Path):
    fl.export_onnx(network(), torch.randn(1, 3, 12, 12), tmp_path / "a.onnx", opset=17)
    frame = fl.benchmark(
        {"file": str(tmp_path / "a.onnx")}, torch.randn(1, 3, 12, 12), runtimes=["onnxruntime", "openvino", "torch"],
        batch=3, rounds=1, memory=False,
    )  # fmt: skip
    assert frame["note"].tolist() == ["", "", "torch runs models, no files; give the model"]
    assert (frame["bytes"][:2] == (tmp_path / "a.onnx").stat().st_size).all()
    np.testing.assert_allclose(frame["throughput"][:2], 3000 / frame["median_ms"][:2])
    lower = torch.randn(1, 3, 9, 12)
    frame = fl.benchmark({"file": tmp_path / "a.onnx"}, lower, runtimes=["onnxruntime"], rounds=1, memory=False)
    assert "Got: 9 Expected: 12" in frame["note"][0]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.onnx"]
    content = (tmp_path / "a.onnx").read_bytes()
    at = content.index(np.float32(network()[6].bias[0].item()).tobytes())
    (tmp_path / "a.onnx").write_bytes(content[:at] + b"\0\0\0\0" + content[at + 4 :])
    with pytest.raises(ValueError, match="was changed after it was exported"):
        fl.benchmark({"file": tmp_path / "a.onnx"}, lower, runtimes=["onnxruntime"])


def test_rounds_take_turns():
    order: list[str] = []

    def run(name: str) -> Callable[[], object]:
        return lambda: (order.append(name), time.sleep(0.021))

    ms = interleaved([[run("a"), run("b")], [run("c")]], 2, 1)
    assert "".join(order) == "abc" + "abc" + "bac"
    assert [part.shape for part in ms] == [(2, 2), (1, 2)]
    assert min(part.min() for part in ms) >= 21


def test_what_is_quick_runs_often():
    calls: list[int] = []
    (ms,) = interleaved([[lambda: calls.append(0)]], 3, 1)
    assert len(calls) > 100
    assert (ms < 1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtimes": ["tensorrt"]}, "runtimes must be one of .*'onnxruntime'.*; not 'tensorrt'"),
        ({"runtimes": []}, "there must be a network and a runtime"),
        ({"runtimes": "torch"}, "runtimes must be a list of names, each once; got 'torch'"),
        ({"runtimes": ["torch", "torch"]}, "each once"),
        ({"threads": 1000}, r"threads=1000, but this process may use \d+ processor"),
        ({"threads": 0}, "threads must be a whole number of at least 1; got 0"),
        ({"rounds": 0}, "rounds must be a whole number of at least 1; got 0"),
        ({"batch": 1.5}, "batch must be a whole number of at least 1; got 1.5"),
        ({"example_input": torch.zeros(1, 4, 8, 8)}, r"'a' does not take the example, \(1, 4, 8, 8\): .*3 channels"),
    ],
)
def test_bad_requests_are_named(options: dict, words: str):
    with pytest.raises(ValueError, match=words):
        fl.benchmark({"a": network()}, **({"example_input": torch.zeros(1, 3, 8, 8), "runtimes": ["torch"]} | options))


def test_what_is_no_network_is_named():
    with pytest.raises(FileNotFoundError, match="'a': there is no file '/.*none.onnx'"):
        fl.benchmark({"a": "none.onnx"}, torch.zeros(1), runtimes=["onnxruntime"])
    with pytest.raises(TypeError, match="'a' must be a model or the path of a file; got 3"):
        fl.benchmark({"a": 3}, torch.zeros(1), runtimes=["onnxruntime"])


def test_a_ratio_that_the_rounds_leave_open_is_told():
    rng = np.random.default_rng(0)
    even = np.ones(50)
    assert unsteady(rng.normal(0.5, 0.02, 50), even) == ""
    bursts = np.where(rng.random(50) < 0.1, 25.0, 1.0)  # a busy moment now and then takes nothing from the median
    assert unsteady(0.5 * bursts, even) == ""
    words = unsteady(np.exp(rng.normal(0, 1.5, 50)), even)
    assert "relative lies between" in words
    assert "Let nothing else run on the machine, or measure more runs" in words
    two = unsteady(np.array([0.5, 1.0]), np.ones(2))
    assert two.startswith("the rounds do not agree: relative lies between 0.50 and 1.00")


def test_rounds_that_agree_since_all_waited_are_told():
    rng = np.random.default_rng(0)
    waited = np.where(rng.random(50) < 0.7, 20.0, 0.0)  # as long for both, in most rounds
    words = unsteady(2.0 + waited, 4.0 + waited)
    assert words.startswith("the machine was busy: slow rounds took 11.0 times as long as quick ones. ")
    assert "the quick rounds say 0.50" in words


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(400):
        words = unsteady(np.exp(rng.normal(0, 2, 50)), np.ones(50))
        low, high = (float(end) for end in re.search(r"between (.+) and (\S+) ", words).groups())
        missed += not low <= 1 <= high
    assert missed / 400 < 0.08
