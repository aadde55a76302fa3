"""The command line: ``python -m fpgmlab COMMAND run.toml``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fpgmlab.runs.checking import BadRun
from fpgmlab.runs.file import read_run
from fpgmlab.runs.folder import Refused
from fpgmlab.runs.help import EXAMPLE, section_help
from fpgmlab.runs.running import run

# What each command is for, in the order in which data goes through them.
COMMANDS = {
    "sweep": "measure how each channel group bears pruning: curves.parquet, curves.csv",
    "plan": "choose which channels go: plan.json, plan.csv",
    "prune": "cut them out (or, with a section [gradual], step by step): pruned.safetensors",
    "repair": "cut them out and refit what stays by least squares: repaired.safetensors, repair.csv",
    "fit": "train what prune or repair gave (without a plan: the network itself): fitted.safetensors, history.csv",
    "export": "write the last network for another runtime: network.onnx and its like",
    "benchmark": "run the first and the last network in runtimes: benchmark.csv",
}
FAILED, MISTAKEN, INTERRUPTED = 1, 2, 130  # exit codes


@dataclass(frozen=True)
class Other:
    """A command that reads no run file.

    Attributes
    ----------
    help : str
        What it is for, in a line.
    add_arguments : callable
        Given its parser, adds what it takes.
    do : callable
        Given the parsed arguments, does it. An `OSError` is told to the user as something asked wrongly.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    do: Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None, others: Mapping[str, Other] | None = None) -> int:
    """Do a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process when left out.
    others : mapping of str to Other, optional
        Commands beside those of runs, from rooms that come after this one.

    Returns
    -------
    int
        The exit code: 0, 1 when something failed, 2 for what was asked wrongly (nothing ran), 130 after Ctrl-C.
    """
    others = others or {}
    options = _parser(others).parse_args(arguments)
    if options.command in others:
        return _other(others[options.command], options)
    bars = not options.quiet and sys.stderr.isatty()
    before = signal.signal(signal.SIGTERM, _interrupt)  # as clusters end a job: like Ctrl-C
    try:
        file = read_run(options.file, options.set)
        say = _silent if options.quiet else _say
        run(options.command, file, resume=options.resume, again=options.again, progress=bars, say=say)
    except (BadRun, Refused) as error:
        return _told(str(error), MISTAKEN)
    except KeyboardInterrupt:
        return _told(f"interrupted; what is finished is kept in {str(file.folder)!r}, --resume goes on", INTERRUPTED)
    except Exception as error:  # whatever a model, a data set or a runtime may raise
        return _told(f"{type(error).__name__}: {error}", FAILED)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _other(command: Other, options: argparse.Namespace) -> int:
    try:
        command.do(options)
    except OSError as error:
        return _told(str(error), MISTAKEN)
    return 0


def _parser(others: Mapping[str, Other]) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m fpgmlab",
        description="Structured filter pruning where no notebook runs: one file says all of a run.",
        epilog=EXAMPLE,
        formatter_class=raw,
    )
    below = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, text in COMMANDS.items():
        about = f"{text[0].upper()}{text[1:]}."
        command = below.add_parser(name, help=text, description=about, epilog=section_help(name), formatter_class=raw)
        command.add_argument("file", metavar="run.toml", help="the run file")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="SECTION.KEY=VALUE",
            help="change the file; may be repeated",
        )
        command.add_argument("--resume", action="store_true", help="go on with a run that was begun in this folder")
        command.add_argument("--again", action="store_true", help="do anew what this folder has of another file")
        command.add_argument("--quiet", action="store_true", help="say nothing but errors; the log tells all")
    for name, other in others.items():
        about = f"{other.help[0].upper()}{other.help[1:]}."
        other.add_arguments(below.add_parser(name, help=other.help, description=about))
    return parser


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


def _silent(text: str) -> None:
    pass


def _told(text: str, code: int) -> int:
    print(f"fpgmlab: {text}", file=sys.stderr)
    return code
