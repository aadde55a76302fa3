"""Repair: a pruned network's remaining weights refitted by least squares, layer by layer, on unlabelled pictures.

`following` finds what follows each layer, `targets` puts aside what the whole network gives there, `running` halts the
pruned network at each layer, `layer` gathers its equations, `equations` solves them; `passing` leads through one pass.
`progress` keeps finished layers on disk, `report` tells what became of them.
"""

from fpgmlab.recovery.repairing.following import After, Looking
from fpgmlab.recovery.repairing.repair import repair
from fpgmlab.recovery.repairing.report import repair_report

__all__ = ["After", "Looking", "repair", "repair_report"]
