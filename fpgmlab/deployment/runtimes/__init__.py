"""The runtimes that layers and networks are timed in: a file each, and its entry in `RUNTIMES`, by its name."""

from fpgmlab.deployment.runtimes.executorch import ExecuTorch
from fpgmlab.deployment.runtimes.ncnn import Ncnn
from fpgmlab.deployment.runtimes.onnx_runtime import OnnxRuntime, onnx_session, run_onnx
from fpgmlab.deployment.runtimes.openvino import OpenVINO
from fpgmlab.deployment.runtimes.runtime import Runtime, Session
from fpgmlab.deployment.runtimes.torch_compiled import TorchCompiled
from fpgmlab.deployment.runtimes.torch_eager import TorchEager

RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": OnnxRuntime(),
    "torch": TorchEager(),
    "torch.compile": TorchCompiled(),
    "openvino": OpenVINO(),
    "ncnn": Ncnn(),
    "executorch": ExecuTorch(),
}

__all__ = [
    "RUNTIMES", "ExecuTorch", "Ncnn", "OnnxRuntime", "OpenVINO", "Runtime", "Session", "TorchCompiled", "TorchEager",
    "onnx_session", "run_onnx",
]  # fmt: skip
