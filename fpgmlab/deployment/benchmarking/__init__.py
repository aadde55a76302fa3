"""Networks run by runtimes beside each other: `benchmark`, and what it stands on: files, rounds, memory."""

from fpgmlab.deployment.benchmarking.comparing import benchmark

__all__ = ["benchmark"]
