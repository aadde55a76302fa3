#!/usr/bin/env bash
# pnnx converts a mean over channels into a mean over rows, and reports success.
#
# One expects: `left + right.mean(1, keepdim=True)` of tensors (1, channels, height, width), whose shapes are told, gives the
# same numbers in ncnn, whose tensors have no batch: axis 1 becomes axis 0.
# What happens: the converter guesses which axis is the batch by the layers that it meets. With a convolution before it guesses
# right; without one nothing tells it, the axis stays 1, and ncnn takes the mean over the height. Neither the converter nor
# ncnn says a word, and the shapes fit as they are broadcast.
#
# Seen with pnnx 20261020, ncnn 1.0.20261020, torch 2.14.1:
#   plain: axis 1, largest difference 1.8; after a convolution: axis 0, largest difference 0.0
# Exits with 1 when both agree with torch, or the conversion is refused.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 pnnx==20261020 ncnn==1.0.20261020 numpy
"$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import subprocess
import sys

import ncnn
import numpy as np
import pnnx
import torch
from torch import nn


class Mean(nn.Module):
    def __init__(self, before):
        super().__init__()
        self.before = before

    def forward(self, left, right):
        return self.before(left) + self.before(right).mean(1, keepdim=True)


def looked_at(name, before):
    torch.manual_seed(0)
    model, given = Mean(before).eval(), (torch.randn(1, 3, 4, 5), torch.randn(1, 3, 4, 5))
    path = f"{sys.argv[1]}/{name.replace(' ', '_')}"
    torch.jit.trace(model, given).save(f"{path}.pt")
    shape = "[1,3,4,5]f32"
    command = [pnnx.EXEC_PATH, f"{path}.pt", f"inputshape={shape},{shape}", "fp16=0"]
    subprocess.run(command, cwd=sys.argv[1], capture_output=True, check=True)
    text = open(f"{path}.ncnn.param").read()
    reduction = next(line for line in text.splitlines() if line.startswith("Reduction"))
    axis = next(option.partition(",")[2] for option in reduction.split() if option.startswith("-23303="))
    net = ncnn.Net()
    assert not net.load_param(f"{path}.ncnn.param")
    assert not net.load_model(f"{path}.ncnn.bin")
    arrays = [tensor[0].numpy() for tensor in given]
    extractor = net.create_extractor()
    for key, array in zip(net.input_names(), arrays):
        extractor.input(key, ncnn.Mat(array).clone())
    found = np.array(extractor.extract("out0")[1])
    del extractor
    worst = float(np.abs(found - model(*given)[0].detach().numpy()).max())
    print(f"{name}: axis {axis}, largest difference {worst:.1f}")
    return worst


plain, after = looked_at("plain", nn.Identity()), looked_at("after a convolution", nn.Conv2d(3, 3, 1))
sys.exit(not (plain > 0.1 and after < 0.01))
PY
