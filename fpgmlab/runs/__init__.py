"""Runs: everything from one file, where no notebook runs; ``python -m fpgmlab fit run.toml``.

In: a run file (TOML), whose sections have the options of the functions of their names. Out: a folder with the
configuration, the environment, histories and tables, networks, a log and ``result.json``; there a killed run goes on.
"""

from fpgmlab.runs.checking import BadRun
from fpgmlab.runs.file import RunFile, read_run, write_run

__all__ = ["BadRun", "RunFile", "read_run", "write_run"]
