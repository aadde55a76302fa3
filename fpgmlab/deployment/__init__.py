"""Deployment: all that knows a runtime.

In: a model, or an exported file. Out: an ONNX file that agrees with the model, latencies of whole networks, tables of
layers' latencies over their numbers of channels.
"""

from fpgmlab.deployment.benchmarking import benchmark
from fpgmlab.deployment.converters import ConversionReport, export_executorch, export_ncnn, export_openvino
from fpgmlab.deployment.export import ExportReport, export_onnx
from fpgmlab.deployment.exported import latency
from fpgmlab.deployment.network import OnnxNetwork
from fpgmlab.deployment.quantization import QuantizationReport, quantize
from fpgmlab.deployment.record import ExportRecord, check_export
from fpgmlab.deployment.roofline import Roof, machine_roof
from fpgmlab.deployment.runtimes import RUNTIMES, Runtime
from fpgmlab.deployment.staircases.measuring import latency_table
from fpgmlab.deployment.staircases.table import LatencyTable
from fpgmlab.deployment.theory import theory_and_practice

__all__ = [
    "RUNTIMES", "ConversionReport", "ExportRecord", "ExportReport", "LatencyTable", "OnnxNetwork", "QuantizationReport",
    "Roof", "Runtime", "benchmark", "check_export", "export_executorch", "export_ncnn", "export_onnx",
    "export_openvino", "latency", "latency_table", "machine_roof", "quantize", "theory_and_practice",
]  # fmt: skip
