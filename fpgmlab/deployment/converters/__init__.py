"""What writes a network as a file of another runtime than ONNX Runtime, checked before the file is there."""

from fpgmlab.deployment.converters.executorch import export_executorch
from fpgmlab.deployment.converters.ncnn import export_ncnn
from fpgmlab.deployment.converters.openvino import export_openvino
from fpgmlab.deployment.converters.report import ConversionReport

__all__ = ["ConversionReport", "export_executorch", "export_ncnn", "export_openvino"]
