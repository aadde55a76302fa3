"""Exported networks in whole numbers of eight bits.

In: an ONNX file in float32, and pictures without labels. Out: the same network in INT8, as far as that pays, and what
it costs in accuracy.
"""

from fpgmlab.deployment.quantization.quantize import quantize
from fpgmlab.deployment.quantization.report import QuantizationReport

__all__ = ["QuantizationReport", "quantize"]
