#!/usr/bin/env bash
# torch's ONNX exporter, told that the batch is free, writes a file with a fixed batch, and reports success.
#
# One expects: `dynamic_shapes=({0: Dim("batch")},)` either gives a file whose first dimension is free, or an error that
# names what fixes it; torch.export does raise for a named dimension that the code makes constant.
# What happens: with `len(x)` in `forward` (`x.reshape(len(x), -1)`, a usual way to flatten) the named dimension is dropped
# without a word: the file takes batches of the example's size alone, and a runtime refuses any other at the first call.
# `Dim.DYNAMIC` in place of the name gives a file that is free, from the same code. An export that is not run at a second
# batch size looks right.
#
# Seen with torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2 (example of two):
#   Dim("batch"): input (2, 3, 8, 8); Dim.DYNAMIC: input (free, 3, 8, 8)
# Exits with 1 when the named dimension is kept, or refused.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 numpy
"$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys

import onnx
import torch
from torch import nn


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).reshape(len(x), -1)


def shape_of(dim, name):
    path = f"{sys.argv[1]}/{name}.onnx"
    example = (torch.randn(2, 3, 8, 8),)
    torch.onnx.export(Flat().eval(), example, path, dynamo=True, dynamic_shapes=({0: dim},), verbose=False)
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else "free" for d in dims)


named = shape_of(torch.export.Dim("batch"), "named")
dynamic = shape_of(torch.export.Dim.DYNAMIC, "dynamic")
print(f'Dim("batch"): input {named}; Dim.DYNAMIC: input {dynamic}'.replace("'", ""))
sys.exit(not (named[0] == 2 and dynamic[0] == "free"))
PY
