#!/usr/bin/env bash
# Batch norm in training changes its running statistics, and their version counter does not tell.
#
# One expects: every in-place change of a tensor raises `tensor._version`; that is how autograd notices that a saved
# tensor was overwritten, and how a tool can tell whether a forward pass has touched a model's buffers. Instance norm with
# running statistics does so, and so does batch norm's own `num_batches_tracked`.
# What happens: `nn.BatchNorm2d` in training moves `running_mean` and `running_var`, with and without gradients, and their
# versions stay what they were. Who snapshots a network around a trial run (a pruned network tried in training mode, say)
# and restores what has a new version leaves it with other statistics, and other answers.
#
# Seen with torch 2.14.1 on the CPU:
#   batch norm:    running_mean moved by 2.3e-02, version +0; num_batches_tracked version +1
#   instance norm: running_mean moved by 2.3e-02, version +1
# Exits with 1 when that is no longer so.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 numpy
"$folder/venv/bin/python" - <<'PY'
import sys

import torch
from torch import nn

x = torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(0))


def told(norm):
    before, version = norm.running_mean.clone(), norm.running_mean._version
    tracked = norm.num_batches_tracked._version
    norm(x)
    moved = float((norm.running_mean - before).abs().max())
    return moved, norm.running_mean._version - version, norm.num_batches_tracked._version - tracked


batch, instance = (told(kind.train()) for kind in (nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True)))
print(f"batch norm:    running_mean moved by {batch[0]:.1e}, version +{batch[1]}; num_batches_tracked version +{batch[2]}")
print(f"instance norm: running_mean moved by {instance[0]:.1e}, version +{instance[1]}")
sys.exit(not (batch[0] > 0 and batch[1] == 0 and batch[2] == 1 and instance[0] > 0 and instance[1] == 1))
PY
