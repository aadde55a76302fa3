"""A command run: the steps that it needs, those that are finished taken as they are."""

from __future__ import annotations

import json
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fpgmlab.common.files import write_text
from fpgmlab.runs.bench import Bench
from fpgmlab.runs.checking import BadRun
from fpgmlab.runs.environment import environment
from fpgmlab.runs.file import RunFile
from fpgmlab.runs.folder import Refused, RunFolder, differences, finite, now, plain
from fpgmlab.runs.processes import number, train_along
from fpgmlab.runs.way import Way

Say = Callable[[str], None]
ELSEWHERE = "take another folder, --set run.folder=..."


def run(
    command: str,
    file: RunFile,
    *,
    resume: bool = False,
    again: bool = False,
    progress: bool = False,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Do a command of ``python -m fpgmlab``; return what ``result.json`` holds.

    Parameters
    ----------
    command : {"sweep", "plan", "prune", "repair", "fit", "export", "benchmark"}
    file : RunFile
    resume : bool
        Go on with a run that was begun; one that is finished is returned.
    again : bool
        Do anew what the folder has of another configuration, what follows from it, and what the command asks for.
    progress : bool
        Show progress bars.
    say : callable
        Told each line of the log.

    Raises
    ------
    BadRun
        When the file lacks the command's section.
    Refused
        For a folder that holds something else, a run of another configuration, or, without ``resume``, one that was
        begun or finished; with what can be done.
    KeyboardInterrupt
        After Ctrl-C; what is finished is kept.
    """
    way, folder = Way(file, command), RunFolder(file.folder)
    folder.check_free()
    bench = Bench(file, folder, say, progress)
    identity = _identity(bench, file)
    configs = {step: way.config(step, identity) for step in way.steps}
    if number() > 0:  # of several processes
        train_along(way, bench, configs, say)
        return {}
    with folder.held():
        done = _anew(folder, configs, way.goal) if again else _finished(folder, configs, way.goal, resume)
        write_text(folder / "run.toml", file.text)
        write_text(folder / "resolved.toml", file.resolved)
        _add_environment(folder, command)
        with _logging(folder, say) as (bench.note, bench.log):
            note = bench.note
            note(f"{command}: {file.path} in {folder.path}")
            for step in way.steps:
                if step in done:
                    note(f"{step}: finished before")
                else:
                    _take(step, way, bench, configs[step])
                folder.write_json("result.json", finite(_result(folder, way, command)))
        return _result(folder, way, command)


def _identity(bench: Bench, file: RunFile) -> dict[str, Any]:
    """Return what network and data are; `BadRun` where the file's words for them lead nowhere."""
    for section in ("model", "task"):
        try:
            getattr(bench, section)
        except Exception as error:  # whatever a builder may raise
            raise BadRun(str(file.path), [f"{section}: {type(error).__name__}: {error}"]) from error
    return bench.identity


def _finished(folder: RunFolder, configs: Mapping[str, Mapping[str, Any]], goal: str, resume: bool) -> set[str]:
    """Return the steps that need not be taken; `Refused` for what cannot go on."""
    done, begun, where = set(), [], repr(str(folder.path))
    for step, config in configs.items():
        record = folder.record(step)
        if record is None:
            continue
        other = differences(record["config"], plain(config))
        if other and step != "evaluate":  # which is measured again in a moment
            more = f"; and {len(other) - 5} more" if len(other) > 5 else ""
            raise Refused(
                f"{where} holds another run: of {step!r}, {'; '.join(other[:5])}{more}. {ELSEWHERE}, or do it anew "
                "from there on, with --again"
            )
        if not other and folder.finished(step) is not None:
            done.add(step)
        elif step != "evaluate":
            begun.append(step)
    if begun and not resume:
        raise Refused(f"{where} holds a run that was interrupted in {begun[0]!r}. Go on with --resume. Or: {ELSEWHERE}")
    if goal in done and not resume:
        raise Refused(
            f"{where} holds this run, and {goal!r} is finished: see its result.json. To do it again: --again. Or: "
            f"{ELSEWHERE}. (--resume takes it as it is)"
        )
    return done


def _anew(folder: RunFolder, configs: Mapping[str, Mapping[str, Any]], goal: str) -> set[str]:
    """Return the steps that are finished and of this configuration, but the one asked for."""
    same = {
        step
        for step, config in configs.items()
        if (record := folder.record(step)) is not None and not differences(record["config"], plain(config))
    }
    return {step for step in same - {goal} if folder.finished(step) is not None}


def _take(step: str, way: Way, bench: Bench, config: Mapping[str, Any]) -> None:
    bench.folder.begin(step, config)
    started = time.perf_counter()
    try:
        outcome = way.taking(step)(bench)
    except KeyboardInterrupt:
        bench.note(f"{step}: interrupted after {time.perf_counter() - started:.1f} s")
        raise
    except Exception as error:
        bench.note(f"{step}: failed: {type(error).__name__}: {error}")
        bench.log(traceback.format_exc())
        bench.folder.forget(step)
        raise
    seconds = time.perf_counter() - started
    bench.folder.finish(step, config, outcome.files, outcome.facts, seconds)
    bench.note(f"{step}: finished in {seconds:.1f} s")


def _result(folder: RunFolder, way: Way, command: str) -> dict[str, Any]:
    records = {step: record for step in way.steps if (record := folder.finished(step)) is not None}
    return {
        "command": command,
        "finished": way.goal in records,
        "at": now(),
        "networks": records.get("evaluate", {}).get("facts", {}).get("networks", []),
        "steps": {
            step: {**record["facts"], "seconds": record["seconds"], "files": list(record["files"])}
            for step, record in records.items()
            if step != "evaluate"
        },
    }


def _add_environment(folder: RunFolder, command: str) -> None:
    """Add where this command runs to what the folder tells of those before."""
    path = folder / "environment.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = []
    folder.write_json("environment.json", [*before, environment(command)])


@contextmanager
def _logging(folder: RunFolder, say: Say) -> Iterator[tuple[Say, Say]]:
    """Give what writes to the log and shows it, and what only writes; warnings are shown as well."""
    shown = warnings.showwarning
    with (folder / "log.txt").open("a", encoding="utf-8") as log:

        def write(text: str) -> None:
            print(now(), text, file=log, flush=True)

        def note(text: str) -> None:
            write(text)
            say(text)

        def warned(message: Warning | str, *_: object, **__: object) -> None:
            note(f"warning: {message}")

        warnings.showwarning = warned
        try:
            yield note, write
        finally:
            warnings.showwarning = shown
