"""Repair: a pruned network's remaining weights refitted by least squares, layer by layer, on unlabelled pictures.

`following` finds what follows each layer, `whole` and `targets` put aside what
the whole network gives there, `running` halts the pruned network at each layer, `layer` gathers its equations,
`equations` solves them; `passing` leads through one pass, `repairs` through those of many plans. `progress` keeps
finished layers on disk, `report` tells of them.
"""

from fpgmlab.recovery.repairing.following import After, Looking
from fpgmlab.recovery.repairing.repair import repair
from fpgmlab.recovery.repairing.repairs import Repairs
from fpgmlab.recovery.repairing.report import repair_report
from fpgmlab.recovery.repairing.whole import Options

__all__ = ["After", "Looking", "Options", "Repairs", "repair", "repair_report"]
