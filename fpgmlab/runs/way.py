"""Which steps a command takes, and what decides what each of them gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fpgmlab.runs.bench import Bench, Outcome
from fpgmlab.runs.checking import BadRun
from fpgmlab.runs.file import RunFile
from fpgmlab.runs.sections import BY_CURVES
from fpgmlab.runs.steps import (
    benchmark_networks,
    choose_plan,
    export_network,
    fit_network,
    judge_networks,
    prune_network,
    prune_step_by_step,
    repair_network,
    sweep_groups,
)

WITHOUT_EFFECT = ("workers",)  # of the options of fit, on what it gives
NAMES = {"prune": "as cut", "repair": "repaired", "gradual": "gradual", "fit": "fitted"}


class Way:
    """Which steps a command takes, and what each is made from.

    Parameters
    ----------
    file : RunFile
    command : str
        Such as ``"fit"``.

    Raises
    ------
    BadRun
        When the file lacks the command's section.
    """

    def __init__(self, file: RunFile, command: str) -> None:
        if command == "prune" and not {"plan", "gradual"} & set(file.sections):
            raise BadRun(str(file.path), ["'prune' needs a section [plan] or [gradual]"])
        if command != "prune" and command not in file.sections:
            raise BadRun(str(file.path), [f"{command!r} needs a section [{command}], which may be empty"])
        self._sections, self._command = file.sections, command

    @property
    def goal(self) -> str:
        """The step that the command is for."""
        return "gradual" if self._command == "prune" and "gradual" in self._sections else self._command

    @property
    def networks(self) -> list[str]:
        """The steps that give networks, in order."""
        fitted = "fit" in self._sections and self._command in ("fit", "export", "benchmark")
        planned = "plan" in self._sections
        if "gradual" in self._sections:
            return ["gradual", *(["fit"] if fitted else [])]
        found = ["prune"] if planned and (self._command == "prune" or "repair" not in self._sections) else []
        found += ["repair"] if "repair" in self._sections and self._command != "prune" else []
        return found + (["fit"] if fitted else [])

    @property
    def steps(self) -> list[str]:
        """All steps, in order."""
        if self._command == "sweep":
            return ["sweep"]
        by_curves = self._sections.get("plan", {}).get("how") in BY_CURVES
        found = (["sweep"] if by_curves else []) + (["plan"] if "plan" in self._sections else [])
        if self._command == "plan":
            return found
        after = [self._command] if self._command in ("export", "benchmark") else []
        return [*found, *self.networks, "evaluate", *after]

    def before(self, step: str) -> str | None:
        """Return the step whose network a step takes; None for the network that the run begins with."""
        earlier = self.networks[: self.networks.index(step)] if step in self.networks else self.networks
        return earlier[-1] if earlier else None

    def config(self, step: str | None, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return all that decides what a step gives."""
        found: dict[str, Any] = {"run": {"seed": self._sections["run"]["seed"]}}
        names = {"model", "task", "trace"}
        if step is not None:
            names |= {step} & set(self._sections)
        if step == "sweep":
            names |= {"score"}
        elif step == "plan" and self._sections["plan"]["how"] != "file":
            names |= {"score"} | ({"sweep"} if self._sections["plan"]["how"] in BY_CURVES else set())
        found |= {name: self._sections[name] for name in self._sections if name in names}
        if "fit" in found:
            found["fit"] = {name: value for name, value in found["fit"].items() if name not in WITHOUT_EFFECT}
        found["found"] = dict(identity)
        if step in ("prune", "repair"):
            found = self.config("plan", identity) | found
        elif step in ("fit", "export", "benchmark"):
            found = self.config(self.before(step), identity) | found
        elif step == "evaluate":
            for network in self.networks:
                found = self.config(network, identity) | found
            found["networks"] = self.networks
        return found

    def taking(self, step: str) -> Callable[[Bench], Outcome]:
        """Return what does a step."""
        last = self.before(step)
        names: dict[str, str | None] = {"unpruned": None, **{NAMES[each]: each for each in self.networks}}
        takes: dict[str, Callable[[Bench], Outcome]] = {
            "sweep": sweep_groups,
            "plan": choose_plan,
            "prune": prune_network,
            "repair": repair_network,
            "gradual": prune_step_by_step,
            "fit": partial(fit_network, before=last),
            "evaluate": partial(judge_networks, steps=names),
            "export": partial(export_network, last=last),
            "benchmark": partial(benchmark_networks, last=last),
        }
        return takes[step]
