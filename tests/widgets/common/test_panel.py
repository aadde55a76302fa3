"""What all panels are: changed one at a time, and made large from Python and from the browser."""

from __future__ import annotations

import threading

import pytest
import traitlets
from ipykernel.comm.comm import BaseComm

import fpgmlab as fl
from fpgmlab.widgets.common.panel import Panel
from fpgmlab.widgets.common.prompt import PromptWidget


def panels(graph: fl.ChannelGraph, task: fl.tasks.Classification, large: bool) -> list[Panel]:
    curves = fl.sensitivity.shipped("resnet20-fashion")
    return [
        fl.widgets.FilterExplorer(graph, large=large),
        fl.widgets.GammaPanel(graph, large=large),
        fl.widgets.SweepPanel(graph, fl.score(graph), task, large=large),
        fl.widgets.PlanEditor(graph, curves, large=large),
    ]


def test_every_panel_can_be_made_large(graph: fl.ChannelGraph, fashion: fl.tasks.Classification):
    for panel in panels(graph, fashion, large=True):
        assert panel.get_state()["large"] is True
        panel.set_state({"large": False})  # the switch in its head
        assert panel.large is False
        with pytest.raises(traitlets.TraitError):
            panel.large = "very"
        panel.close()


def test_who_changes_something_waits_for_the_lock():
    panel = Panel()
    changed = threading.Thread(target=panel.set_state, args=({"large": True},))
    with panel._lock:
        panel.large = False  # whoever holds it may go on
        changed.start()
        changed.join(0.2)
        assert changed.is_alive()
    changed.join(10)
    assert panel.large is True
    assert Panel()._lock is not panel._lock


class Mute:
    """A comm that takes messages and keeps nothing, as that of another front end may be."""

    __slots__ = ()
    comm_id, kernel = "mute", None

    def send(self, *args: object, **kwargs: object) -> None: ...

    def on_msg(self, callback: object) -> None: ...

    def close(self, *args: object, **kwargs: object) -> None: ...


def test_answers_of_the_browser_do_not_wait_for_the_shell_that_runs_the_cells():
    panel, comm = Panel(), BaseComm(target_name="jupyter.widget")
    comm._reply_subshell_id = None  # as it is noted with every message from the main shell
    assert comm._reply_subshell_for({"method": "custom"}, "beside") is None, "ipykernel's own rule has changed"
    PromptWidget.comm.fset(panel, comm) if isinstance(PromptWidget.comm, property) else setattr(panel, "comm", comm)
    panel._answer_beside_cells()
    comm._reply_subshell_id = None  # also for what comes in while a message is being sent
    assert comm._reply_subshell_for({"method": "custom"}, "beside") == "beside"


@pytest.mark.parametrize("comm", [None, Mute()])
def test_a_comm_of_another_front_end_will_do(comm: object):
    panel = Panel()
    PromptWidget.comm.fset(panel, comm) if isinstance(PromptWidget.comm, property) else setattr(panel, "comm", comm)
    panel.large = True
    panel._answer_beside_cells()
    assert panel.get_state()["large"] is True
