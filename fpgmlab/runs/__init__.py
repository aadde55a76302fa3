"""Runs: everything from one file, where no notebook runs; ``python -m fpgmlab fit run.toml``.

In: a run file (TOML), whose sections have the options of the functions of their names. Out: a folder with the
configuration, the environment, histories and tables, networks, a log and ``result.json``; there a killed run goes on.
`report_environment` tells what such a run, or a report of a fault, needs to say of the machine.
"""

from fpgmlab.runs.checking import BadRun
from fpgmlab.runs.environment import report_environment
from fpgmlab.runs.file import RunFile, read_run, write_run

__all__ = ["BadRun", "RunFile", "read_run", "report_environment", "write_run"]
