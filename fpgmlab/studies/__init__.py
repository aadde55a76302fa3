"""Studies: what was measured with this workbench, by which command, and which sentences stand on it.

In: the files of ``data/results/`` and the claims in ``claims.toml`` beside them. Out: tables of studies and of claims,
each figure read from its study, and the head that every study is written with.
"""

from fpgmlab.studies.claims import claims
from fpgmlab.studies.files import folder, load
from fpgmlab.studies.page import claims_table
from fpgmlab.studies.recording import machine, part, record
from fpgmlab.studies.tables import frame, results, table

__all__ = ["claims", "claims_table", "folder", "frame", "load", "machine", "part", "record", "results", "table"]
