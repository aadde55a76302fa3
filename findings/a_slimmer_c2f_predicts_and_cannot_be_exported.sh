#!/usr/bin/env bash
# A pruned YOLOv8, YOLO11 or YOLO26 predicts, trains and is saved, and cannot be exported.
#
# One expects: what predicts can be exported; an export traces the very forward pass that predicts.
# What happens: for exports ultralytics puts forward_split in the place of C2f's forward (and its successors'). The one
# halves its first layer's output (chunk), whatever its width; the other splits by the number of channels that the block
# was built with (self.c), which nothing else reads. Where that layer was made narrower, as every pruning does, predict,
# val, train and save go on, and export ends in an error of split_with_sizes (tried: TorchScript). Who prunes has to set
# block.c = block.cv1.conv.out_channels // 2 for every block that has forward_split.
#
# Seen with ultralytics 8.4.190, torch 2.14.1 on x86_64:
#   4 blocks narrowed from [16, 32, 64, 128] to [12, 24, 48, 96] channels in each half: predicts
#   as it is: RuntimeError: split_with_sizes expects split_sizes to sum exactly to 24 ...
#   with c set: exported
# Exits with 1 when the first export works as well, or the second does not.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 ultralytics==8.4.190
cd "$folder"
YOLO_CONFIG_DIR="$folder" YOLO_AUTOINSTALL=false "$folder/venv/bin/python" - <<'PY'
import sys

import torch
from torch import nn
from ultralytics import YOLO


def narrowed(block, inputs, outputs):
    """Cut a convolution with its batch norm to its first inputs and outputs."""
    conv, norm = block.conv, block.bn
    new = nn.Conv2d(len(inputs), len(outputs), conv.kernel_size, conv.stride, conv.padding, bias=False)
    new.weight.data = conv.weight.data[outputs][:, inputs].clone()
    scaled = nn.BatchNorm2d(len(outputs), norm.eps, norm.momentum)
    for name, tensor in scaled.state_dict().items():
        if tensor.ndim:
            tensor.copy_(norm.state_dict()[name][outputs])
    block.conv, block.bn = new, scaled


torch.manual_seed(0)
yolo = YOLO("yolov8n.yaml")
blocks = [block for block in yolo.model.model[:10] if hasattr(block, "forward_split")]  # those of the backbone
for block in blocks:
    width, stay = block.c, list(range(block.c * 3 // 4))
    halves = [half * width + i for half in range(2) for i in stay]
    narrowed(block.cv1, list(range(block.cv1.conv.in_channels)), halves)
    for inner in block.m:
        narrowed(inner.cv1, stay, stay)
        narrowed(inner.cv2, stay, stay)
    parts = [part * width + i for part in range(2 + len(block.m)) for i in stay]
    narrowed(block.cv2, parts, list(range(block.cv2.conv.out_channels)))
x = torch.rand(1, 3, 64, 64)
with torch.no_grad():
    yolo.model.eval()(x)
built = [block.c for block in blocks]
found = [block.cv1.conv.out_channels // 2 for block in blocks]
print(f"{len(blocks)} blocks narrowed from {built} to {found} channels in each half: predicts")
try:
    yolo.export(format="torchscript", imgsz=64)
    as_it_is = True
except RuntimeError as error:
    print(f"as it is: RuntimeError: {str(error)[:120]}")
    as_it_is = False
for block, width in zip(blocks, found):
    block.c = width
mended = bool(yolo.export(format="torchscript", imgsz=64))
print("with c set:", "exported" if mended else "not exported")
sys.exit(as_it_is or not mended)
PY
