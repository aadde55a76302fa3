"""The runtimes that layers are timed in: a file each, and its entry in `RUNTIMES`, by the name that users give."""

from fpgmlab.deployment.runtimes.onnx_runtime import OnnxRuntime, onnx_session, run_onnx
from fpgmlab.deployment.runtimes.runtime import Runtime
from fpgmlab.deployment.runtimes.torch_eager import TorchEager

RUNTIMES: dict[str, Runtime] = {"onnxruntime": OnnxRuntime(), "torch": TorchEager()}

__all__ = ["RUNTIMES", "OnnxRuntime", "Runtime", "TorchEager", "onnx_session", "run_onnx"]
