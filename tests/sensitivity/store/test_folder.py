"""Sweeps on disk: what goes on, what is refused, and in which words."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from torch.utils.data import TensorDataset

import fpgmlab as fl
from fpgmlab.common.digests import digest
from fpgmlab.sensitivity.curves.curves import read_curves
from fpgmlab.sensitivity.store import work
from tests.sensitivity.small import run, same, small_graph, small_task, stop_after


@pytest.fixture(scope="module")
def graph() -> fl.ChannelGraph:
    return small_graph()


@pytest.fixture
def begun(graph: fl.ChannelGraph, tmp_path: Path) -> Path:
    """A sweep that was stopped after two of four batches."""
    stop_after(graph, tmp_path / "sweep", 2)
    return tmp_path / "sweep"


def forbid(*_: object) -> None:
    raise AssertionError("something was measured")


# Going on ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [None, 0.15])
@pytest.mark.parametrize("memory", [4e9, 1e5])  # the second cuts the batches
def test_stopped_after_every_batch_it_ends_the_same(
    graph: fl.ChannelGraph, tmp_path: Path, tolerance: float | None, memory: float
):
    whole = run(graph, None, tolerance=tolerance, memory=memory)
    curves, rounds = None, 0
    while curves is None or not curves.complete:
        curves, rounds = stop_after(graph, tmp_path, 1, tolerance=tolerance, memory=memory), rounds + 1
        assert rounds <= 40
        assert same(fl.Curves.load(tmp_path), curves)
    assert rounds >= 3
    assert same(curves, whole)


def test_a_complete_sweep_is_only_read(graph: fl.ChannelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = run(graph, tmp_path)
    monkeypatch.setattr(work, "running", forbid)
    assert same(run(graph, tmp_path), first)


def test_more_samples_go_on_from_where_it_was(graph: fl.ChannelGraph, tmp_path: Path):
    run(graph, tmp_path, max_samples=20)
    assert same(run(graph, tmp_path), run(graph, None))


@pytest.mark.parametrize("count", [5, 25])
def test_more_samples_after_half_a_batch_are_refused(graph: fl.ChannelGraph, tmp_path: Path, count: int):
    run(graph, tmp_path, max_samples=count)
    with pytest.raises(ValueError, match=rf"over {count} samples, which end in the middle of a batch of 10"):
        run(graph, tmp_path)
    with pytest.raises(ValueError, match=rf"over {count} samples, more than the 3 that are asked for"):
        run(graph, tmp_path, max_samples=3)


def test_a_network_without_a_group_to_prune_is_swept_at_once(graph: fl.ChannelGraph, tmp_path: Path):
    curves = run(fl.trace(graph.model, graph.example_input, protect=[""]), tmp_path)
    assert curves.complete
    assert curves.frame.empty


def test_less_memory_makes_smaller_parts_and_more_changes_nothing(begun: Path, graph: fl.ChannelGraph):
    curves = run(graph, begun, memory=1.0)
    record = read_curves(begun / "curves.parquet")[1]
    assert record["ends"] == [10, *range(20, 41)]
    assert record["memory"] == 1.0
    assert curves.complete


# What differs --------------------------------------------------------------------------------------------------------


def other_weights(graph: fl.ChannelGraph) -> dict:
    model = copy.deepcopy(graph.model)
    with torch.no_grad():
        model[2].bias[3] += 1e-6
        model[5].weight[0, 0] += 1e-6
    return {"graph": fl.trace(model, graph.example_input)}


def other_module(graph: fl.ChannelGraph) -> dict:
    model = copy.deepcopy(graph.model)
    model[1] = torch.nn.ReLU6()
    return {"graph": fl.trace(model, graph.example_input)}


def other_scores(graph: fl.ChannelGraph) -> dict:
    scores = dict(fl.score(graph, "l1"))
    scores["2"] = scores["2"].clone()
    scores["2"][0] += 1e-6
    return {"scores": scores}


def other_pictures(graph: fl.ChannelGraph) -> dict:
    images, labels = (tensor.clone() for tensor in small_task().val.tensors)
    images[13, 0, 0, 0] += 1e-6
    return {"task": replace(small_task(), val=TensorDataset(images, labels))}


def other_labels(graph: fl.ChannelGraph) -> dict:
    images, labels = (tensor.clone() for tensor in small_task().val.tensors)
    labels[3] = (labels[3] + 1) % 3
    return {"task": replace(small_task(), val=TensorDataset(images, labels))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_weights, r"model: weights of '2' and 1 more"),
        (other_module, r"model: module '1'"),
        (other_scores, r"scores of group '2'"),
        (other_pictures, r"data: samples 10 to 19"),
        (other_labels, r"data: samples 0 to 9"),
        (lambda graph: {"ratios": (0.5,)}, r"ratios: stored \[0.25, 0.5\], now \[0.5\]"),
        (lambda graph: {"metrics": ["kl"]}, r"metrics: stored \['accuracy', 'loss', 'agreement'\], now \['kl'\]"),
        (lambda graph: {"multiple": 2}, r"multiple: stored 1, now 2"),
        (lambda graph: {"dtype": "bfloat16"}, r"dtype: stored 'float32', now 'bfloat16'"),
        (lambda graph: {"batch_size": 5}, r"batch_size: stored 10, now 5"),
        (lambda graph: {"tolerance": 0.1}, r"tolerance: stored None, now 0.1"),
        (lambda graph: {"graph": fl.trace(graph.model, graph.example_input, protect=["2"])}, r"groups: '2'"),
    ],
)
def test_what_differs_is_named(
    begun: Path, graph: fl.ChannelGraph, change: Callable, words: str, monkeypatch: pytest.MonkeyPatch
):
    before = {path.name: path.read_bytes() for path in begun.iterdir() if path.name != ".lock"}
    monkeypatch.setattr(work, "running", forbid)
    changed = change(graph)
    with pytest.raises(ValueError, match=words) as caught:
        run(changed.pop("graph", graph), begun, **changed)
    assert "delete the folder" in str(caught.value)
    assert {path.name: path.read_bytes() for path in begun.iterdir() if path.name != ".lock"} == before


def test_the_order_of_ratios_is_no_difference(begun: Path, graph: fl.ChannelGraph):
    assert run(graph, begun, ratios=(0.5, 0.25)).complete


def test_digests_tell_shape_and_type_and_order():
    x = torch.arange(6.0)
    values = [x, x.reshape(2, 3), x.reshape(3, 2), x.double(), x.int(), x.flip(0), [x], [x, x], {"a": x}, {"b": x}]
    values += ["x", 1, 1.0, None]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(x.reshape(2, 3).T.contiguous().T) == digest(x.reshape(2, 3))


# Files that are no good ----------------------------------------------------------------------------------------------


def no_text(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign_json(path: Path) -> None:
    path.write_text('["something else"]')


def later_json(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "fpgmlab-curves/9"}))


def foreign_parquet(path: Path) -> None:
    parquet.write_table(pa.table({"x": [1]}), path)


def later_parquet(path: Path) -> None:
    table = parquet.read_table(path)
    metadata = json.loads(table.schema.metadata[b"fpgmlab"]) | {"format": "fpgmlab-curves/9"}
    parquet.write_table(table.replace_schema_metadata({b"fpgmlab": json.dumps(metadata)}), path)


def of_another_sweep(path: Path) -> None:
    fl.Curves.load(path).save(path)


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("curves.json", no_text, "half-written or not of a sweep"),
        ("curves.json", half, "half-written or not of a sweep"),
        ("curves.json", foreign_json, "half-written or not of a sweep"),
        ("curves.json", later_json, "format 'fpgmlab-curves/9'; this version goes on with 'fpgmlab-curves/1'"),
        ("curves.json", Path.unlink, "belongs to no sweep: 'curves.json' is missing"),
        ("curves.parquet", no_text, "half-written, damaged or no Parquet file"),
        ("curves.parquet", half, "half-written, damaged or no Parquet file"),
        ("curves.parquet", foreign_parquet, "does not hold curves of fpgmlab"),
        ("curves.parquet", later_parquet, "format 'fpgmlab-curves/9'; this version reads 'fpgmlab-curves/1'"),
        ("curves.parquet", of_another_sweep, "does not belong to the 'curves.json' beside it"),
    ],
)
def test_files_that_are_no_good_are_named_and_left(
    begun: Path, graph: fl.ChannelGraph, name: str, spoil: Callable, words: str
):
    spoil(begun / name)
    before = {path.name: path.read_bytes() for path in begun.iterdir() if path.name != ".lock"}
    with pytest.raises(ValueError, match=words) as caught:
        run(graph, begun)
    assert str(begun) in str(caught.value)
    assert "elete" in str(caught.value)
    assert {path.name: path.read_bytes() for path in begun.iterdir() if path.name != ".lock"} == before


def test_a_path_that_cannot_be_written_fails_before_measuring(
    graph: fl.ChannelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(work, "running", forbid)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "sweep"):
        with pytest.raises(OSError, match="cannot keep the progress of a sweep in .*Choose a folder"):
            run(graph, path)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    me = os.geteuid()
    os.seteuid(65534 if me == 0 else me)  # root may write anywhere
    try:
        with pytest.raises(PermissionError, match="cannot keep the progress of a sweep in .*Choose a folder"):
            run(graph, locked / "sweep")
    finally:
        os.seteuid(me)


def test_two_sweeps_at_once_are_one_too_many(graph: fl.ChannelGraph, tmp_path: Path):
    refused = []

    def another(curves: fl.Curves) -> None:
        with pytest.raises(RuntimeError, match=f"another sweep is writing to .*process {os.getpid()} on ") as caught:
            run(graph, tmp_path)
        refused.append(caught.value)

    assert run(graph, tmp_path, on_update=another).complete
    assert len(refused) == 4
    assert run(graph, tmp_path).complete  # and free again
