"""Recovery: all that gives accuracy back.

In: a pruned model and a task. Out: the same model with statistics estimated anew (`recalibrate`), with its remaining
weights refitted by least squares (`repair`), or trained again (`fit`, with its extras). `tell_stages`
says from the numbers what came of it.
"""

from fpgmlab.recovery.extras import (
    EMA,
    Distill,
    EarlyStop,
    Extra,
    GammaL1,
    GroupLasso,
    RunningExtra,
    SoftPruning,
    plan_of_zeros,
)
from fpgmlab.recovery.recalibration import recalibrate
from fpgmlab.recovery.repairing import repair, repair_report
from fpgmlab.recovery.stages import tell_stages
from fpgmlab.recovery.training import fit

__all__ = [
    "EMA",
    "Distill",
    "EarlyStop",
    "Extra",
    "GammaL1",
    "GroupLasso",
    "RunningExtra",
    "SoftPruning",
    "fit",
    "plan_of_zeros",
    "recalibrate",
    "repair",
    "repair_report",
    "tell_stages",
]
