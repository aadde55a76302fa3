"""Recovery: all that gives accuracy back.

In: a pruned model and a task. Out: the same model with statistics estimated anew (`recalibrate`), with its remaining
weights refitted by least squares (`repair`), or trained again (`fit`, with its extras).
"""

from fpgmlab.recovery.extras import Distill, Extra, GammaL1
from fpgmlab.recovery.recalibration import recalibrate
from fpgmlab.recovery.repairing import repair, repair_report
from fpgmlab.recovery.training import fit

__all__ = ["Distill", "Extra", "GammaL1", "fit", "recalibrate", "repair", "repair_report"]
