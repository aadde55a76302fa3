"""One name is one network: what was measured with other weights than those that ship says so; so do times."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import fpgmlab as fl
from fpgmlab.checkpoints import read_weights
from fpgmlab.common.files import data_dir
from fpgmlab.figures.paper.item import Item, Missing, Request, label
from fpgmlab.figures.paper.paper import MAKERS
from fpgmlab.figures.paper.sources import sources

STUDIES = sources(None).studies
QUANTIZED = {part: found for part, found in STUDIES["quantization"].items() if "unpruned" in found}


def made(name: str, results: dict | None = None) -> Item:
    item = MAKERS[name](Request(sources(results), lambda width: fl.figures.style("cvpr", width)))
    assert isinstance(item, Item)
    return item


def shipped(network: str) -> float:
    path = data_dir() / "checkpoints" / f"{network}.safetensors"
    return round(read_weights(path).record["notes"]["test"]["accuracy"], 4)


def unpruned() -> Iterator[tuple[str, float]]:
    """Yield each shipped classifier's accuracy that a study drawn under its name alone has stored."""
    yield from STUDIES["recovery"]["unpruned"].items()
    yield from ((name, found["unpruned"] / 100) for name, found in STUDIES["reconstruction"]["networks"].items())
    rows = STUDIES["repair"]["classifiers"]
    yield from ((key.split(",")[0], row["accuracy"]) for key, row in rows.items() if key.endswith(", unpruned"))
    for part, found in QUANTIZED.items():
        if "accuracy" in found["unpruned"]["float32"] and not found.get("earlier weights"):
            yield f"{part.partition(',')[0]}-fashion", found["unpruned"]["float32"]["accuracy"]


def test_a_name_alone_is_the_network_that_ships():
    pairs = list(unpruned())
    assert len(pairs) >= 6
    for network, accuracy in pairs:
        assert accuracy == pytest.approx(shipped(network), abs=1e-4), network


def test_marked_weights_are_others():
    marked = {name: found for part, found in QUANTIZED.items() for name in found.get("earlier weights", ())}
    for network, found in marked.items():
        assert found["unpruned"]["float32"]["accuracy"] != shipped(f"{network}-fashion")


@pytest.mark.parametrize("name", ["accuracy_ms", "theory_practice"])
def test_figures_name_earlier_weights_apart(name: str):
    item = made(name)
    titles = [axis.get_title("left") or axis.get_title() for axis in item.content.axes]
    marked = [title for title in titles if title.endswith(", earlier weights")]
    assert marked
    assert all("resnet20" not in title and "vgg16" not in title for title in set(titles) - set(marked))
    assert "Earlier weights: not of the classifier that other figures show." in item.caption


def test_the_table_marks_them_and_says_so():
    item = made("table_deployment")
    assert re.findall(r"^(\w+)\$\^\\dagger\$ &", str(item.content), re.MULTILINE) == ["resnet20", "vgg16"]
    assert r"$\dagger$: with earlier weights" in item.caption


def test_re_measured_parts_are_not_marked():
    anew = copy.deepcopy(dict(STUDIES["quantization"]))
    for found in anew.values():
        found.pop("earlier weights", None)
    for name in ("accuracy_ms", "table_deployment"):
        item = made(name, {"quantization": anew})
        assert "arlier weights" not in item.caption
        assert r"\dagger" not in str(item.content)


def test_milliseconds_say_of_how_many_pictures():
    item = made("accuracy_ms")
    assert item.content.axes[0].get_xlabel() == "milliseconds of one call with 32 pictures"
    assert "one call with 32 pictures" in item.caption
    assert "with 32 pictures or 1 picture (the detector)" in made("table_deployment").caption
    assert "with one picture a call" in made("theory_practice").caption


def test_times_of_a_busy_machine_are_left_out_and_what_else_was_measured_stays():
    busy = {part.partition(",")[0] for part, found in QUANTIZED.items() if "note" in found}
    quiet = {part.partition(",")[0] for part, found in QUANTIZED.items() if "note" not in found}
    assert busy - quiet
    assert not any(name in network for name in busy - quiet for network in made("accuracy_ms").data["network"])
    table = made("table_deployment")
    there = table.data[["onnxruntime", "openvino"]].notna().all(axis=1)
    assert set(table.data["network"][~there]) == busy - quiet
    assert set(table.data["network"][there]) == quiet
    assert table.data[["kB", "value"]].notna().all(axis=None)
    assert "the machine was busy" in table.caption


def test_without_a_quiet_time_there_is_no_figure():
    noisy = {part: found | {"note": "busy"} for part, found in QUANTIZED.items()}
    item = MAKERS["accuracy_ms"](
        Request(sources({"quantization": noisy}), lambda width: fl.figures.style("cvpr", width))
    )
    assert isinstance(item, Missing)
    assert "quiet machine" in item.reason


@pytest.mark.parametrize("name", ["accuracy_macs", "accuracy_recovered", "table_criteria", "table_recovered"])
def test_criteria_come_in_one_order(name: str):
    data = made(name).data
    column = "method" if "method" in data else "criterion"
    shown = list(dict.fromkeys(label(method) for method in data[column]))
    assert shown == ["FPGM", "reconstruction", "L2", "BN gamma", "random"]


def test_ones_own_method_comes_before_random():
    own = pd.DataFrame({"network": ["resnet20-fashion"], "method": ["mine"], "macs": [0.5], "value": [0.9]})
    assert list(dict.fromkeys(made("accuracy_macs", {"own": own}).data["method"]))[-2:] == ["mine", "random"]


def test_sources_say_in_words_what_is_there():
    for name in ("accuracy_recovered", "recovery_seconds", "table_recovered"):
        source = made(name).source
        assert ".dirty" not in source
        assert re.search(r"[\d,]+ of [\d,]+ settings measured so far", source)


def test_no_column_of_the_deployment_table_is_nameless():
    head = re.search(r"toprule\n(.+?) \\\\", str(made("table_deployment").content))[1]
    assert all(cell.strip() for cell in head.split("&"))


def test_a_bar_says_what_is_made_and_can_be_switched_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    fl.paper(None, to=tmp_path, only=["table_budgets", "table_detector"], progress=False)
    assert capsys.readouterr().err == ""
    fl.paper(None, to=tmp_path, only=["table_budgets", "table_detector"])
    said = capsys.readouterr().err
    assert "table_budgets" in said
    assert "0/2" in said
