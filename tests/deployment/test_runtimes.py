"""Runtimes: what was exported for each gives what the model gives, in float32, or says why it cannot."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fpgmlab as fl
from fpgmlab.deployment.arguments import Arguments
from fpgmlab.deployment.runtimes import RUNTIMES
from tests.networks import busy

EXPORTS: dict[str, tuple[Callable[..., object], str]] = {
    "onnxruntime": (fl.export_onnx, "odd.onnx"),
    "openvino": (fl.export_openvino, "odd.xml"),
    "ncnn": (fl.export_ncnn, "odd.ncnn.param"),
    "executorch": (fl.export_executorch, "odd.pte"),
}
# What ExecuTorch imports to write a file takes longer than all the rest.
WRITTEN = [*list(EXPORTS)[:-1], pytest.param("executorch", marks=pytest.mark.slow)]


class Odd(nn.Module):
    """What pruning leaves: odd numbers of channels, dense, depthwise, joined and added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 7, 3, 2, 1, bias=False), nn.BatchNorm2d(7)
        self.depthwise, self.wide = nn.Conv2d(7, 7, 3, padding=1, groups=7), nn.Conv2d(7, 13, 1)
        self.side, self.back = nn.Conv2d(7, 5, 3, padding=1), nn.Conv2d(18, 7, 1)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.relu6(self.norm(self.stem(x)))
        joined = torch.cat([nn.functional.hardswish(self.wide(self.depthwise(x))), nn.functional.silu(self.side(x))], 1)
        x = x + self.back(joined)
        return self.head(x.mean((2, 3))), joined.sigmoid()


@pytest.fixture(scope="module")
def odd() -> nn.Module:
    torch.manual_seed(0)
    return busy(Odd()).eval()


@pytest.fixture(scope="module")
def example() -> Tensor:
    return torch.randn(1, 3, 15, 17, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def file(odd: nn.Module, example: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the file of a runtime, written once."""
    folder = tmp_path_factory.mktemp("files")

    @cache
    def written(runtime: str) -> Path:
        write, name = EXPORTS[runtime]
        write(odd, example, folder / name)
        return folder / name

    return written


def run(runtime: str, source: nn.Module | Path, example: Tensor, threads: int = 1) -> list[np.ndarray]:
    with RUNTIMES[runtime].threads(threads):
        return RUNTIMES[runtime].open(source, Arguments.of(example), threads).run([example.numpy()])


def hold(found: Sequence[np.ndarray], wanted: Sequence[Tensor], tolerance: float = 1e-5) -> None:
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=tolerance * float(want.abs().max()))


@pytest.mark.parametrize("runtime", WRITTEN)
@torch.no_grad()
def test_a_file_gives_what_the_model_gives_in_float32(
    file: Callable[[str], Path], odd: nn.Module, example: Tensor, runtime: str
):
    hold(run(runtime, file(runtime), example), odd(example))
    hold(run(runtime, file(runtime), 3 * example), odd(3 * example))  # half precision would be off by 1e-3


@torch.no_grad()
def test_torch_runs_the_model_itself(odd: nn.Module, example: Tensor):
    threads = torch.get_num_threads()
    hold(run("torch", odd, example), odd(example), 1e-6)
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="torch runs models, no files"):
        run("torch", Path("odd.onnx"), example)


@pytest.mark.slow
@torch.no_grad()
def test_torch_compiles(odd: nn.Module, example: Tensor):
    hold(run("torch.compile", odd, example), odd(example))


@torch.no_grad()
def test_openvino_takes_onnx_files(file: Callable[[str], Path], odd: nn.Module, example: Tensor):
    hold(run("openvino", file("onnxruntime"), torch.cat([example, -example])), odd(torch.cat([example, -example])))


@pytest.mark.parametrize("runtime", WRITTEN)
@pytest.mark.parametrize("shape", [(1, 2, 15, 17), (1, 3, 14, 17)])
def test_another_shape_is_refused_before_it_runs(file: Callable[[str], Path], runtime: str, shape: tuple[int, ...]):
    # In its own words where it looks by itself, in ours where it would not.
    with pytest.raises(Exception, match=r"the file takes .*15, ?17|invalid dimensions"):
        run(runtime, file(runtime), torch.randn(shape))


def test_ncnn_takes_no_file_that_does_not_tell_its_shape(file: Callable[[str], Path], example: Tensor, tmp_path: Path):
    silent = tmp_path / "silent.ncnn.param"
    silent.write_text(file("ncnn").read_text().replace(" 0=17 1=15 2=3", ""))
    assert silent.read_text() != file("ncnn").read_text()
    with pytest.raises(ValueError, match=r"silent.ncnn.param does not say the shape of its input .*export_ncnn"):
        run("ncnn", silent, example)


@pytest.mark.parametrize("runtime", WRITTEN)
def test_what_is_not_installed_is_named_with_its_extra(runtime: str, monkeypatch: pytest.MonkeyPatch):
    package, extra = RUNTIMES[runtime].package, RUNTIMES[runtime].extra
    assert RUNTIMES[runtime].awake()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is not installed: pip install 'fpgmlab\[{extra}\]'"):
        fl.benchmark({"a": nn.Identity()}, torch.zeros(1), runtimes=[runtime])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "ncnn"])
def test_inputs_are_left_as_they_are(tmp_path: Path, runtime: str):
    model, given = nn.Sequential(nn.ReLU()), torch.randn(1, 3, 4, 5)
    write, name = EXPORTS[runtime]
    write(model, given, tmp_path / name)
    before = given.clone()
    hold(run(runtime, tmp_path / name, given), [before.relu()], 0)
    assert torch.equal(given, before)


@pytest.mark.parametrize("runtime", ["torch", "openvino", "ncnn"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3, 2, padding=(0, 2)), (1, 4, 9, 8)),
        (nn.Conv2d(4, 7, (3, 5), padding="same", dilation=(1, 2)), (1, 4, 9, 8)),
        (nn.Conv2d(5, 5, 3, groups=5, padding="valid"), (1, 5, 9, 8)),
        (nn.Conv2d(4, 8, 3, groups=2), (1, 4, 9, 8)),
        (nn.ConvTranspose2d(4, 6, (3, 2), 2, padding=(1, 0), output_padding=1, groups=2), (1, 4, 5, 6)),
        (nn.ConvTranspose2d(4, 6, 3, 2, padding=1), (1, 4, 5, 6)),
        (nn.Conv1d(4, 6, 3, dilation=2), (1, 4, 9)),
        (nn.Linear(4, 6), (1, 3, 4)),
        (nn.Linear(4, 6), (1, 4)),
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_single_layer_is_the_layer(runtime: str, layer: nn.Module, shape: tuple[int, ...]):
    example = torch.randn(shape)
    run = RUNTIMES[runtime].ready(layer.eval(), example, 1)
    found = run()
    (got,) = found if isinstance(found, list) else [found] if runtime == "torch" else found.values()
    hold([np.asarray(got)], [layer(example)])


@pytest.mark.parametrize("runtime", WRITTEN)
def test_idle_sessions_leave_the_cores_alone(file: Callable[[str], Path], example: Tensor, runtime: str):
    with RUNTIMES[runtime].threads(2):
        session = RUNTIMES[runtime].open(file(runtime), Arguments.of(example), 2)
        for _ in range(3):
            session.run([example.numpy()])
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.2)
        assert time.process_time() - before < 0.02
