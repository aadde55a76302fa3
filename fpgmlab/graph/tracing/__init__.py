"""Tracing: one forward pass in which every channel carries a number.

In: a model and an example input. Out: a `Trace`: the layers that ran with the numbers of their channels, which channels
are tied, and which are frozen, with the reason in words.
"""

from fpgmlab.graph.tracing.passes import trace_labels
from fpgmlab.graph.tracing.recorder import TracingError
from fpgmlab.graph.tracing.trace import Trace

__all__ = ["Trace", "TracingError", "trace_labels"]
