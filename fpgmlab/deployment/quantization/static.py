"""The first way: ONNX Runtime's quantiser, and a search for what had better stay in float."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fpgmlab.common.inputs import inputs_of
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.quantization.job import Job, Written
from fpgmlab.deployment.quantization.search import ASKED, READ, Search
from fpgmlab.deployment.quantization.timing import medians
from fpgmlab.deployment.quantization.writing import Prepared
from fpgmlab.deployment.record import write_sealed
from fpgmlab.errors import unknown

CHECKED = 32  # pictures that layers are compared on one by one


def by_onnxruntime(job: Job, path: Path, calibration: str, reduce_range: bool, target: str, fastest: bool) -> Written:
    """Write a file in INT8 for ONNX Runtime, and all that reads such files."""
    import onnx

    prepared = Prepared.of(job.source, job.feeds, calibration, reduce_range, target)
    layers = prepared.layers
    for name in job.in_float:
        if name not in layers.nodes:
            raise ValueError(unknown("operation", name, layers.nodes))
    with tempfile.TemporaryDirectory() as folder:
        search = Search(prepared, Path(folder), job.threads)
        chosen = dict.fromkeys(job.in_float, ASKED)
        if fastest:
            chosen = search.fastest(chosen, job.timed)
        judged = None
        if job.max_drop is not None:
            few = inputs_of(job.inputs, min(CHECKED, len(job.inputs)))
            chosen, judged = search.within(chosen, job.judge, job.max_drop, few, job.told)
    used = layers.in_int8(chosen)
    prepared.write(path, used)
    write_sealed(onnx.load(path), path, job.entries)
    network = OnnxNetwork(path, job.threads)
    feed = job.timed
    runs = {"float": lambda: job.network.session.run(None, feed), "int8": lambda: network.session.run(None, feed)}
    ms = medians(runs)
    rows = [
        (name, layers.nodes[name].op_type, "int8", "")
        if name in used
        else (name, layers.nodes[name].op_type, "float32", chosen.get(name, READ))
        for name in layers.weighted
    ]
    judged = judged or job.judge(network)
    return Written(judged, ms["float"], ms["int8"], path.stat().st_size, tuple(rows))
