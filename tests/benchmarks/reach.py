"""How far pruning reaches into other people's networks, and whether what is cut answers as it should.

    python tests/benchmarks/reach.py [--only NAME ...] [--below 0.9] [--part torch_pruning]

Each network runs in a process of its own, with limits of time and memory; its row is kept in ``outputs/reach/`` and not
measured twice, unless it is named, or reached less than ``--below``; ``--anew`` forgets what an earlier run stored. All
rows go to ``data/results/reach.parquet``, the summary to ``data/results/reach.json``: the reach (the share of MACs in
layers that make or read a channel that may go), random plans at two ratios in both modes against simulation, costs
against a count, what stays for which reason. The other part compares with torch-pruning: the MACs that are gone at the
same ratio.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import re
import resource
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils import _pytree as pytree

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "outputs" / "reach"
OUTPUT = ROOT / "data" / "results" / "reach.json"
PARTS = ("reach", "torch_pruning")
RATIOS = (0.3, 0.5)
SECONDS, BYTES = 600, 8 << 30  # of a network
TOLERANCE = 1e-4
MODES = ("apart", "apart_training")


def measured(name: str) -> dict[str, object]:
    """Return a network's row."""
    import fpgmlab as fl
    from tests.benchmarks.foreign_networks import built
    from tests.whole_way import outputs_of

    model, x = built(name)
    outputs_of(model, x)  # warm
    start = time.process_time()
    outputs_of(model, x)
    middle = time.process_time()
    graph = fl.trace(model, x)
    seconds = time.process_time() - middle
    free = sum(group.protected is None for group in graph.values())
    row: dict[str, object] = {
        "name": name,
        "version": fl.studies.part("")["version"],
        "macs": graph.cost().macs,
        "params": graph.cost().params,
        "groups": len(graph),
        "free": free,
        "reach": round(graph.reach, 5),
        "forward_seconds": round(middle - start, 4),
        "trace_seconds": round(seconds, 4),
        "stays": stays(graph),
    }
    scores = fl.score(graph, "random")
    plans = {ratio: fl.Plan.uniform(graph, scores, ratio, multiple=1) for ratio in RATIOS}
    row["plans"] = found = [checked(graph, plan, ratio) for ratio, plan in plans.items()]
    if any(beyond(plan[key]) for plan in found for key in MODES):  # rounding, or a fault? Double precision tells
        graph.model.double()
        graph.example_input = pytree.tree_map(in_double, graph.example_input)
        for each, plan in zip(found, plans.values(), strict=True):
            for key in [key for key in MODES if beyond(each[key])]:
                again = number(lambda: apart(graph, plan, fl.prune(graph, plan), training=key == MODES[1]))  # noqa: B023
                each[f"{key}_in_single"], each[key] = each[key], again if isinstance(again, float) else each[key]
    return row


def stays(graph) -> list[dict[str, object]]:
    """Return what no plan reaches, by reason without names: its share of MACs, the largest group, other reasons."""
    table = graph.frame()
    table["stuck"] = table["macs_share"] - table["reached"]
    found: dict[str, dict] = {}
    if table["stuck"].sum() > 1e-3:
        others = every_reason(graph)
        for row in table[table["stuck"] > 1e-6].sort_values("stuck", ascending=False).itertuples():
            each = {"share": 0.0, "group": row.group, "remedy": row.remedy, "also": set()}
            entry = found.setdefault(nameless(row.protected), each)
            entry["share"] += row.stuck
            entry["also"] |= others.get(row.group, set()) - {nameless(row.protected)}
    beside = 1 - table["macs_share"].sum()
    if beside > 1e-3:
        found["its layers belong to no group"] = {"share": beside, "group": "", "remedy": "", "also": ()}
    return [
        {"reason": reason, **entry, "share": round(entry["share"], 4), "also": sorted(entry["also"])}
        for reason, entry in found.items()
    ]


def every_reason(graph) -> dict[str, set[str]]:
    """Return all reasons of each group, without names: tracing tells the first one."""
    from fpgmlab.graph.grouping import group_channels
    from fpgmlab.graph.tracing.passes import trace_labels

    raw = group_channels(trace_labels(graph.model, graph.example_input))[0]
    return {group.producers[0]: {nameless(reason.text) for reason in group.frozen} for group in raw}


def nameless(reason: str) -> str:
    """Return a reason without the module that it was met in, without names and numbers."""
    reason = re.sub(r" in ('[^']*'|the model itself)$", "", reason)
    reason = re.sub(r"'[^' ]*\.[^' ]*'", "'...'", reason)
    return re.sub(r"\b\d+\b", "N", reason)[:160]


def beyond(value: object) -> bool:
    return isinstance(value, float) and value > TOLERANCE


def in_double(leaf: object) -> object:
    return leaf.double() if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf


# Plans ---------------------------------------------------------------------------------------------------------------


def checked(graph, plan, ratio: float) -> dict[str, object]:
    """Return how far simulated and pruned outputs are apart in both modes, and whether the cost is exact."""
    import fpgmlab as fl
    from fpgmlab.common.batches import examples_in

    cost, small = graph.cost(plan), fl.prune(graph, plan)
    counted = macs_of(small, graph.example_input)
    wanted, per = cost.macs, examples_in(graph.example_input)
    exact = counted == wanted * per
    # torch may count products of no convolution or linear layer, also before the cut: nothing to compare with.
    beside = 0 if exact else macs_of(graph.model, graph.example_input) - graph.cost().macs * per
    return {
        "ratio": ratio,
        "macs": wanted,
        "apart": number(lambda: apart(graph, plan, small)),
        "apart_training": number(lambda: apart(graph, plan, small, training=True)),
        "params_exact": cost.params == sum(p.numel() for p in small.parameters()),
        "macs_exact": None if beside else exact,
        "counted": [counted, beside],
    }


def number(measure: Callable[[], float]) -> float | str:
    """Return a number, or in words why there is none."""
    try:
        found = measure()
        return float(f"{found:.2e}") if np.isfinite(found) else "no number"
    except Exception as error:  # whatever a network's code may raise
        return f"{type(error).__name__}: {error}"[:200]


def macs_of(model: nn.Module, example: object) -> int:
    from tests.whole_way import CountedMacs, outputs_of

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides its projections from the counter
    with CountedMacs() as counter:
        outputs_of(model, example)
    torch.backends.mha.set_fastpath_enabled(fast)
    return counter.macs


def apart(graph, plan, small: nn.Module, *, training: bool = False) -> float:
    """Return how far simulated and pruned outputs are apart, relative to the largest number of each tensor.

    In training mode on two examples, without dropout; the pruned model's running means have moved then.
    """
    import fpgmlab as fl
    from fpgmlab.common.calling import call
    from fpgmlab.common.modules import tensors_in

    example = pytree.tree_map(doubled, graph.example_input) if training else graph.example_input

    def outputs(model: nn.Module) -> list[torch.Tensor]:
        torch.manual_seed(0)
        with torch.no_grad(), without_chance(model, training):
            found = [tensor.detach().double() for tensor in tensors_in(call(model, example))]
        return [tensor for tensor in found if tensor.numel()]

    before = {name: tensor.clone() for name, tensor in graph.model.state_dict().items()} if training else {}
    with fl.simulate(graph, plan) as model:
        simulated = outputs(model)
    if training:  # running means have moved
        graph.model.load_state_dict(before)
    pairs = zip(simulated, outputs(small), strict=True)
    return max(float((a - b).abs().max()) / max(float(b.abs().max()), 1e-30) for a, b in pairs)


def doubled(leaf: object) -> object:
    """Return a batch of two examples: one, and its mirror image."""
    return torch.cat([leaf, leaf.flip(-1)]) if isinstance(leaf, torch.Tensor) and leaf.ndim > 1 else leaf


@contextmanager
def without_chance(model: nn.Module, training: bool) -> Iterator[None]:
    """Put a model into a mode, its dropout always into evaluation; in the end all of it."""
    model.train(training)
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) or type(module).__name__ == "DropPath":
            module.eval()
    with mock.patch("torch.nn.functional.dropout", lambda x, *args, **kwargs: x):
        yield
    model.eval()


# torch-pruning -------------------------------------------------------------------------------------------------------


def compared(name: str) -> dict[str, object]:
    """Return the MACs that are gone at the same ratio, here and with torch-pruning's own defaults."""
    import torch_pruning

    import fpgmlab as fl
    from tests.benchmarks.foreign_networks import built

    model, x = built(name)
    graph = fl.trace(model, x)
    scores = fl.score(graph, "random")
    whole = macs_of(model, x)
    last = [
        n for g in graph.values() if (g.protected or "").startswith("it is the model's output") for n in g.producers
    ]
    modules = dict(model.named_modules())
    row: dict[str, object] = {"name": name, "reach": round(graph.reach, 5), "ratios": []}
    for ratio in RATIOS:
        plan = fl.Plan.from_ratios(graph, scores, {name: as_there(group, ratio) for name, group in graph.items()})
        ours = macs_of(fl.prune(graph, plan), x)
        try:
            other, ignored = copy.deepcopy((model, [modules[n] for n in last]))
            with torch.enable_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pruner = torch_pruning.pruner.MetaPruner(
                    other, x, importance=torch_pruning.importance.RandomImportance(), pruning_ratio=ratio,
                    ignored_layers=ignored,
                )  # fmt: skip
                pruner.step()
            theirs: float | str = round(1 - macs_of(other, x) / whole, 5)
        except Exception as error:  # whatever it meets in a network
            theirs = f"{type(error).__name__}: {error}"[:160]
        beyond = isinstance(theirs, float) and cuts_more(model, other, ratio)
        row["ratios"].append({
            "ratio": ratio, "gone": round(1 - ours / whole, 5), "torch_pruning": theirs, "beyond": beyond
        })  # fmt: skip
    return row


def cuts_more(model: nn.Module, pruned: nn.Module, ratio: float) -> bool:
    """Tell whether some layer lost a twentieth more of its outputs than was asked, and more than rounding takes."""
    there = dict(pruned.named_modules())
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and module.weight is not None:
            before, after = (each.weight.shape[outputs_axis(each)] for each in (module, there[name]))
            if after < before * (0.95 - ratio) and after < before * (1 - ratio) - 8:
                return True
    return False


def outputs_axis(module: nn.Module) -> int:
    return int(getattr(module, "transposed", False))


def as_there(group, ratio: float) -> float:
    """Return the ratio that torch-pruning's rounding makes of one: what stays of each block is rounded down."""
    each = group.channels // group.step
    return 0.0 if group.protected else 1 - max(int(each * (1 - ratio)), -(-group.least // group.step)) / each


# Processes and files -------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="networks by name, measured anew")
    parser.add_argument("--below", type=float, help="measure anew what reached less")
    parser.add_argument("--part", choices=PARTS, default="reach")
    parser.add_argument("--anew", action="store_true", help="measure all of the part anew")
    parser.add_argument("--every", type=int, default=1, help="take each so-manieth network of the list")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no network after so many")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    torch.set_num_threads(1)
    from tests.benchmarks.foreign_networks import listed

    measured("timm:test_convnext")  # imports all that the processes need, which are copies of this one

    begun = time.monotonic()
    # In an order of no meaning: a run that ends early has seen some of everything.
    names = options.only or sorted(listed(FOLDER), key=lambda name: crc32(name.encode()))[:: options.every]
    path = FOLDER / f"{options.part}.jsonl"
    restore(anew=options.part if options.anew else None)
    rows = read(path)
    for name in names:
        old = rows.get(name)
        low = old is not None and options.below is not None and old.get("reach", 0) < options.below
        if (old is not None and not low and not options.only) or time.monotonic() - begun > options.seconds:
            continue
        rows[name] = in_process(measured if options.part == "reach" else compared, name)
        with path.open("a") as file:
            file.write(json.dumps(rows[name]) + "\n")
        print(f"{name:46} {rows[name].get('reach', rows[name].get('failed'))}", flush=True)
    write(options.part, read(path))


def read(path: Path) -> dict[str, dict]:
    """Return the last row of each network."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {row["name"]: row for row in rows}


def restore(anew: str | None = None) -> None:
    """Write the rows of parts that the stored result has and this machine has not, but for one part."""
    table = stored_rows()
    for part in PARTS:
        path = FOLDER / f"{part}.jsonl"
        if part == anew:
            path.unlink(missing_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{row}\n" for row in table["row"][table["part"] == part]))


def stored_rows() -> pd.DataFrame:
    stored = OUTPUT.with_suffix(".parquet")
    return pd.read_parquet(stored) if stored.exists() else pd.DataFrame({"part": [], "network": [], "row": []})


def in_process(measure: Callable[[str], dict], name: str) -> dict:
    """Return what a function says of a network in a process of its own, or how that ended."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=partial(_told, measure, name, sender))
    process.start()
    sender.close()
    row = {"name": name, "failed": f"took longer than {SECONDS} s"}
    if receiver.poll(SECONDS):
        try:
            row = receiver.recv()
        except EOFError:
            row = {"name": name, "failed": "the process ended (memory)"}
    process.kill()
    process.join()
    return row


def _told(measure: Callable[[str], dict], name: str, sender) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    warnings.simplefilter("ignore")
    try:
        row = measure(name)
    except Exception as error:
        row = {"name": name, "failed": f"{type(error).__name__}: {error}"[:300], "at": traceback.format_exc()[-600:]}
    sender.send(row)


# The summary ---------------------------------------------------------------------------------------------------------


def write(part: str, rows: dict[str, dict]) -> None:
    """Write the summary of a part and its rows beside what is stored of the other one."""
    import fpgmlab as fl

    command, here = "python tests/benchmarks/reach.py", fl.studies.machine(threads=1)
    result = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    if part == "reach":
        title = "How far pruning reaches into other people's networks"
        head = fl.studies.record("reach", title=title, command=command, machine=here)
        result = {**head, **reached(rows), "torch-pruning": result.get("torch-pruning", {})}
    else:
        result["torch-pruning"] = fl.studies.part(f"{command} --part {part}", machine=here) | against(rows)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    others = [row for row in stored_rows().to_dict("records") if row["part"] != part]
    own = [{"part": part, "network": row["name"], "row": json.dumps(row)} for row in rows.values()]
    pd.DataFrame([*others, *own]).to_parquet(OUTPUT.with_suffix(".parquet"), index=False)
    shown = {key: value for key, value in result.items() if key not in {"study", "networks", "what stays"}}
    print(json.dumps(shown, indent=1))


def reached(rows: dict[str, dict]) -> dict[str, object]:
    from tests.benchmarks.foreign_networks import listed
    from tests.surgery.test_brought import TIMM

    done = [row for row in rows.values() if "reach" in row]
    families = {f"timm:{name}" for name in TIMM}
    return {
        "listed": len(listed(FOLDER)),
        "measured with": dict(Counter(row.get("version", "an earlier version of the same day") for row in done)),
        "of timm's families": spread([row for row in done if row["name"] in families]),
        "of timm": spread([row for row in done if row["name"].startswith("timm:")]),
        "of all": spread(done),
        "silent differences": sorted(row["name"] for row in done if differs(row)),
        "cost not exact": sorted(row["name"] for row in done if not all(exact(plan) for plan in row["plans"])),
        "plans compared in both modes": sum(compared_in_both(plan) for row in done for plan in row["plans"]),
        "failed": {row["name"]: row["failed"] for row in rows.values() if "failed" in row},
        "what stays": reasons(done),
        "trace seconds": round(sum(row["trace_seconds"] for row in done), 2),
        "networks": {row["name"]: row["reach"] for row in sorted(done, key=lambda row: row["name"])},
    }


def spread(rows: list[dict]) -> dict[str, float]:
    reach = np.array([row["reach"] for row in rows])
    if not len(reach):
        return {"networks": 0}
    low = np.quantile(reach, (0.05, 0.1, 0.25, 0.5))
    named = dict(zip(("5th percentile", "10th percentile", "quartile", "median"), low, strict=True))
    rounded = {key: round(float(value), 4) for key, value in (named | {"mean": reach.mean()}).items()}
    return {"networks": len(rows), **rounded, "below 0.8": int((reach < 0.8).sum())}


def differs(row: dict) -> bool:
    return any(beyond(plan[key]) for plan in row["plans"] for key in MODES)


def exact(plan: dict) -> bool:
    return plan["params_exact"] and plan["macs_exact"] is not False


def compared_in_both(plan: dict) -> bool:
    return all(isinstance(plan[key], float) for key in MODES)


def reasons(rows: list[dict]) -> list[dict]:
    """Return the reasons why MACs are out of reach: how many networks, how much of all of them, an example."""
    found = defaultdict(list)
    for row in rows:
        for entry in row["stays"]:
            found[entry["reason"]].append((entry["share"], row["name"], entry["group"], entry["remedy"]))
    table = []
    for reason, entries in found.items():
        share, name, group, remedy = max(entries)
        shares = [entry[0] for entry in entries]
        table.append({
            "reason": reason, "remedy": remedy, "networks": len(entries),
            "of the MACs of all": round(sum(shares) / len(rows), 5), "median": round(float(np.median(shares)), 4),
            "most": share, "example": f"{name} {group}".strip(),
        })  # fmt: skip
    return sorted(table, key=lambda entry: -entry["of the MACs of all"])


def against(rows: dict[str, dict]) -> dict[str, object]:
    """Return on how many of the networks that torch-pruning cuts as many MACs are gone here."""
    pairs = [
        (row["name"], each["ratio"], each["gone"], each["torch_pruning"], each.get("beyond"))
        for row in rows.values()
        for each in row.get("ratios", ())
    ]
    cut = [pair for pair in pairs if isinstance(pair[3], float)]
    alike = [abs(here - there) <= 0.01 for _, _, here, there, _ in cut]
    least = [here >= there - 0.01 for _, _, here, there, _ in cut]
    fewer = [pair for pair, fine in zip(cut, least, strict=True) if not fine]
    return {
        "networks": sum("ratios" in row for row in rows.values()),
        "failed": {row["name"]: row["failed"] for row in rows.values() if "failed" in row},
        "cut by torch-pruning": len({name for name, *_ in cut}),
        "within 1 % of the MACs": round(float(np.mean(alike)), 4) if cut else None,
        "at least as many gone, within 1 %": round(float(np.mean(least)), 4) if cut else None,
        "fewer gone here": [pair[:4] for pair in fewer if not pair[4]],
        "fewer gone here, where torch-pruning cut more than was asked": [pair[:4] for pair in fewer if pair[4]],
    }


if __name__ == "__main__":
    main()
