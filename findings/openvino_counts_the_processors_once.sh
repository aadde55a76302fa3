#!/usr/bin/env bash
# OpenVINO runs on as many threads as the process was allowed when it first looked, whatever it is asked for later.
#
# One expects: `INFERENCE_NUM_THREADS: 2` gives two threads where the process may use two processors at that time, or an
# error that says why not.
# What happens: the processors are counted once in a process, when the CPU is first asked for, as far as the calling thread
# may use them then. Who was kept to one processor at that moment (to time something else, by a job's launcher, in a pool of
# workers) gets one thread from then on, also after the limit is gone; a new Core does not count again, and nothing is said.
#
# Seen with openvino 2026.4.1, Linux, two processors:
#   counted on one processor: 1 thread of 2; counted on both: 2 threads of 2
# Exits with 1 when both give what was asked for; with 2 where there is only one processor.
set -euo pipefail
[ "$(nproc)" -ge 2 ] || { echo "this needs two processors"; exit 2; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy
cat > "$folder/look.py" <<'PY'
import os
import sys

import numpy as np
import openvino
from openvino import opset13 as ops

allowed = os.sched_getaffinity(0)
if sys.argv[1] == "one":
    os.sched_setaffinity(0, {min(allowed)})
openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
os.sched_setaffinity(0, allowed)

x = ops.parameter([1, 64], np.float32)
model = openvino.Model([ops.matmul(x, ops.constant(np.ones((64, 64), np.float32)), False, False)], [x])
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 2})
print(compiled.get_property("INFERENCE_NUM_THREADS"))
PY
one=$("$folder/venv/bin/python" "$folder/look.py" one)
both=$("$folder/venv/bin/python" "$folder/look.py" both)
echo "counted on one processor: $one thread of 2; counted on both: $both threads of 2"
[ "$one" = 1 ] && [ "$both" = 2 ]
