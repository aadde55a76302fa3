"""What the command line says of the run file: an example, and the keys of a section with their defaults."""

from __future__ import annotations

import json
import textwrap

from fpgmlab.runs.sections import FORMATS, HOW, table_for
from fpgmlab.runs.types import Option, words

EXAMPLE = """\
A run file, such as run.toml:

  model = "resnet20-fashion"      # that ships; or an architecture, a file, "module:function"

  [task]
  name = "fashion_mnist"          # or trees, image_folder, coco, data_yaml, a builder
  holdout = 5000                  # to choose by; the test data are read at the end

  [plan]
  how = "uniform"                 # or allocate (needs [sweep]), by_depth, file, ...
  macs = 0.5

  [repair]                        # a step with its defaults

  [fit]
  epochs = 3
  lr = 0.02
  extras = ["distill"]

  [export]

Each section has the options of the function of its name; 'COMMAND --help' lists them. A command does what it needs of
the steps before, or takes what the run's folder (outputs/run, or run.folder) has of them. Steps without a section are
left out. 'fit' can be started by 'accelerate launch -m fpgmlab fit run.toml'.
"""
WIDTH = 100


def section_help(command: str) -> str:
    """Return what the help of a command says of its section in the run file."""
    if command in ("plan", "prune"):
        keys = [f"  {how:<17} {_keys('plan', 'how', how)}" for how in HOW]
        more = ["", *_lines("gradual", ", in place of [plan] and [repair]")] if command == "prune" else []
        return "\n".join(["section [plan]: how = one of these, and its keys", *keys, *more])
    if command == "export":
        keys = [f"  {kind:<17} {_keys('export', 'format', kind)}" for kind in FORMATS]
        return "\n".join(["section [export]: format = one of these, and its keys", *keys])
    return "\n".join(_lines(command))


def _keys(section: str, leading: str, value: str) -> str:
    table = table_for(section, {leading: value}, [])
    return ", ".join(name for name in table.options if name != leading) if table is not None else ""


def _lines(section: str, more: str = "") -> list[str]:
    table = table_for(section, {}, [])
    assert table is not None
    return [f"section [{section}]{more}; keys with defaults:", *map(_line, table.options.values())]


def _line(option: Option) -> str:
    """Return a line for an option: its default, and the first sentence of its text."""
    default = option.default
    if default is None or default == ():
        told = f"{option.name}  ({words(option.annotation)})"
    elif isinstance(default, str | bool | int | float | tuple):
        told = f"{option.name} = {json.dumps(default)}"
    else:
        told = option.name
    text = " or ".join(map(json.dumps, option.choices)) or option.text.replace("`", "").partition(". ")[0].rstrip(".")
    return textwrap.fill(f"  {told:<28} {text}", WIDTH, subsequent_indent=" " * 31)
