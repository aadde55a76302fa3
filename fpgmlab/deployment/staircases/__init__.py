"""Latency tables: what each layer takes over its numbers of channels, inside the whole network, in a runtime.

A runtime computes channels in blocks, and has other ways where they do not fit. `probing` finds both on small networks;
`variants` times the whole network at other numbers of channels, layer by layer; `fitting` says what each layer makes of
the steps.
"""
