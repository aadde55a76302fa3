"""Networks of timm, cut at random and repaired: it runs, and comes nearer to the whole network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fpgmlab as fl
from fpgmlab.common.modules import tensors_in
from fpgmlab.recovery import repair_report
from tests.checks import difference
from tests.surgery.made import calibrate, fill
from tests.surgery.test_brought import timm_network

TIMM = """
test_convnext test_nfnet test_vit test_vit_relpos test_mambaout lcnet_035 starnet_s050 dla46x_c ese_vovnet19b_slim_dw
edgenext_xx_small regnetx_002 inception_next_atto ghostnet_050 mobilevit_xxs levit_128s efficientvit_m0
""".split()  # noqa: SIM905
# With random weights and 64 pictures all is lost in these either way: errors of more than the outputs' own variance.
CHAOTIC = {"efficientvit_m0", "ghostnet_050"}


def pictures(count: int, seed: int) -> Tensor:
    """Return smooth pictures of even contrast, as no white noise is."""
    generator = torch.Generator().manual_seed(seed)
    parts = (torch.randn(count, 3, side, side, generator=generator) for side in (4, 8, 16, 32))
    return sum(F.interpolate(part, (64, 64), mode="bicubic") for part in parts).tanh()


def brought(name: str) -> nn.Module:
    """Return a network in which every tensor matters."""
    model, _ = timm_network(name)
    fill(model)
    model.eval()
    calibrate(model, pictures(16, 1))
    return model


def error(model: nn.Module, whole: nn.Module, inputs: Tensor) -> float:
    """Return the mean squared difference of all outputs, each relative to its variance over the examples."""
    with torch.no_grad():
        pairs = zip(*(tensors_in(network(inputs)) for network in (model, whole)), strict=True)
        errors = [(ours - wanted).square().mean() / wanted.var(0).mean() for ours, wanted in pairs]
    return float(torch.stack(errors).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_repair_of_what_people_bring(name: str):
    whole = brought(name)
    graph = fl.trace(whole, pictures(1, 2))
    plan = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.3, multiple=1)
    batches = list(pictures(64, 3).split(32))
    before = {key: tensor.clone() for key, tensor in whole.state_dict().items()}
    small, cut = fl.repair(graph, plan, batches, samples=64, progress=False), fl.prune(graph, plan)
    assert all(torch.equal(tensor, before[key]) for key, tensor in whole.state_dict().items())
    assert [m.training for m in small.modules()] == [m.training for m in cut.modules()]
    assert not repair_report(small).attrs["interrupted"]
    new = pictures(32, 4)
    repaired, as_cut = (error(model, whole, new) for model in (small, cut))
    assert repaired < (2 if name in CHAOTIC else 1) * as_cut  # not so of NaN
    nothing = fl.Plan.uniform(graph, fl.score(graph, "random"), 0.0, multiple=1)
    uncut = fl.repair(graph, nothing, batches, samples=8, progress=False)
    with torch.no_grad():
        assert difference(uncut(new), whole(new)) <= 1e-4
