#!/usr/bin/env bash
# Accelerate, asked for two processes on a machine without a GPU, starts one, or two that do not know of each other.
#
# One expects: "accelerate launch --num_processes 2" gives two processes that share each epoch's batches, or an error; code
# of the kind `Accelerator().prepare(loader)` is written for any number of processes and kinds of device.
# What happens: with --cpu one process is started and the number is dropped without a word. With --multi_gpu, which a script
# for a cluster has, two are started and WORLD_SIZE is 2, but where torch sees no GPU no group is formed: each says that it
# is process 0 of 1, reads all batches, and both write what "the main process" writes. Nothing averages their gradients:
# a job that lost its GPUs trains twice, on everything, into one file. A group there is only with Accelerator(cpu=True).
#
# Seen with accelerate 1.15.0, torch 2.14.1 on a machine without GPUs (processes: of how many, batches of 8 that each reads):
#   --cpu: (0, 1, 8); --multi_gpu: (0, 1, 8) (0, 1, 8); --multi_gpu, Accelerator(cpu=True): (0, 2, 4) (1, 2, 4)
# Exits with 1 when that is not so any more.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet accelerate==1.15.0 torch==2.14.1 numpy
cat > "$folder/train.py" <<'PY'
import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

accelerator = Accelerator(cpu=sys.argv[1] == "cpu")
loader = accelerator.prepare(DataLoader(TensorDataset(torch.arange(16.0)), batch_size=2))
read = sum(1 for _ in loader)
print(f"({accelerator.process_index}, {accelerator.num_processes}, {read})", flush=True)
PY
export HF_HOME="$folder" OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES=
told() {
  "$folder/venv/bin/accelerate" launch "$1" --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
    "$folder/train.py" "$2" 2>/dev/null | grep '^(' | sort | paste -sd ' '
}
alone=$(told --cpu any) apart=$(told --multi_gpu any) together=$(told --multi_gpu cpu)
echo "--cpu: $alone"
echo "--multi_gpu: $apart"
echo "--multi_gpu, Accelerator(cpu=True): $together"
[ "$alone" = "(0, 1, 8)" ] && [ "$apart" = "(0, 1, 8) (0, 1, 8)" ] && [ "$together" = "(0, 2, 4) (1, 2, 4)" ]
