"""Styles: settings of matplotlib for a venue, which no user's settings and no other thread mix with."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from fpgmlab import figures
from tests.figures.made import stages


def test_styles_are_settings_of_matplotlib_without_latex():
    for venue in figures.VENUES:
        for width in ("column", "page"):
            style = figures.style(venue, width)
            assert set(style) <= set(mpl.rcParams)
            assert (style["pdf.fonttype"], style["text.usetex"]) == (42, False)
            shipped = {font.name for font in mpl.font_manager.fontManager.ttflist if "mpl-data" in font.fname}
            assert set(style["font.family"]) <= shipped
            assert figures.style(venue, width) == style


@pytest.mark.parametrize(("arguments", "message"), [(("nips",), "'neurips', 'ieee'; not 'nips'"),
                                                    (("cvpr", "half"), "'column', 'page'; not 'half'")])  # fmt: skip
def test_unknown_styles_are_named(arguments: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        figures.style(*arguments)


def test_a_style_can_be_changed_and_the_users_settings_do_not_show(tmp_path: Path):
    figure = figures.score_bars(torch.arange(3.0), style=figures.style("cvpr") | {"axes.labelsize": 11})
    assert figure.axes[0].xaxis.label.get_fontsize() == 11
    plain = figures.save_figure(figures.recovery(stages()), None, tmp_path / "plain")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "xtick.color": "red", "savefig.bbox": "tight"}):
        other = figures.save_figure(figures.recovery(stages()), None, tmp_path / "other")
    assert [p.read_bytes() for p in plain[:2]] == [p.read_bytes() for p in other[:2]]


def test_threads_do_not_mix_their_settings():
    before, sizes = dict(mpl.rcParams), []

    def draw(venue: str) -> None:
        for _ in range(5):
            figure = figures.score_bars(torch.arange(3.0), style=figures.style(venue))
            sizes.append((venue, figure.axes[0].xaxis.label.get_fontsize()))

    threads = [threading.Thread(target=draw, args=(venue,)) for venue in ("cvpr", "neurips", "screen")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sizes)) == 3
    assert dict(mpl.rcParams) == before


def test_figures_never_import_pyplot():
    folder = Path(figures.__file__).parent
    sources = sorted(folder.glob("*.py"))
    assert len(sources) > 10
    assert not [path.name for path in sources if re.search(r"import.*pyplot|plt\.", path.read_text())]
