"""What the docstrings of public names lack, by numpydoc's reading of them."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from types import ModuleType

from numpydoc.docscrape import NumpyDocString, Parameter
from torch import nn
from traitlets import HasTraits, TraitType

import fpgmlab as fl

FEW = 2  # so many parameters may be told in a sentence
# Methods and rules that others published: their docstrings say where.
PUBLISHED = """
criteria.FPGM criteria.FPGMMix criteria.L1 criteria.BNGamma criteria.Reconstruction geometry.geometric_median
geometry.classical_mds geometry.pca EMA Distill GammaL1 GroupLasso SoftPruning recalibrate repair prune_gradually
Plan.global_threshold models.resnet20 models.resnet32 models.resnet56 models.resnet110 models.vgg16
models.yolov5 models.YOLOv5 models.DepthwiseSeparable models.ShuffledGrouped models.receptive_field
machine_roof deployment.Roof figures.roofline quantize crosscheck fit figures.clustered_order geometry.distance_sums
models.ChannelShuffle tasks.BoxAugment tasks.fashion_mnist tasks.trees
""".split()  # noqa: SIM905
SOURCE = re.compile(r"arXiv:\d{4}\.\d{4,5}|\b(19|20)\d\d\b")
ALIKE = re.compile(r"\bas `([\w.]+)` does\b")  # parameters and errors are told there
WORDS = r"[\w.*+/]+( [\w.*+/]+){0,4}"
SHAPE = re.compile(rf"\({WORDS},( ?{WORDS}(, ?{WORDS})*)?\)|\bscalar\b|\bany shape\b")
# Errors of helpers that cannot come up in their callers: what they check is known there.
NEVER = {"plan_of_zeros": "ValueError", "replacements": "TypeError"}
ELSEWHERE = re.compile(r"\bAs (in|of|for|by) `")  # told where that is documented
# What a name promises without saying in what it is measured.
UNITS = {
    r"memory": r"bytes?",
    r"latency|timeout|duration|(^|_)time$": r"seconds?|milliseconds?|ms|s|fraction",
    r"^sizes?$|^side$": r"pixels?|bytes?",
}


@dataclass(frozen=True)
class Thing:
    """A public name: a function, a class, or what is public in a class."""

    name: str
    it: object
    owner: type | None = None

    @property
    def room(self) -> str:
        """Where it is defined."""
        return (self.owner or self.function or self.it).__module__.split(".")[1]

    @property
    def text(self) -> str:
        """Its docstring, or that of what it overrides."""
        if isinstance(self.it, type):
            return inspect.cleandoc(self.it.__doc__ or "")
        if self.owner is None:
            return inspect.getdoc(self.it) or ""
        for base in self.owner.__mro__:
            if base.__module__.startswith("fpgmlab"):
                own = vars(base).get(self.name.rpartition(".")[2])
                if doc := getattr(own, "__doc__", None):
                    return inspect.cleandoc(doc)
        return ""

    @property
    def inherits(self) -> bool:
        """Whether the words are those of what it overrides."""
        return self.owner is not None and not getattr(self.it, "__doc__", None)

    @property
    def overrides(self) -> list[Thing]:
        """The methods of the same name in the public classes above."""
        if self.owner is None:
            return []
        key = self.name.rpartition(".")[2]
        shown = {thing.it for thing in public() if isinstance(thing.it, type)}
        above = [base for base in self.owner.__mro__[1:] if base in shown and key in vars(base)]
        return [Thing(f"{base.__name__}.{key}", vars(base)[key], base) for base in above]

    @property
    def function(self) -> Callable[..., object] | None:
        """Whose signature and body count."""
        if isinstance(self.it, (classmethod, staticmethod)):
            return self.it.__func__
        if isinstance(self.it, property):
            return self.it.fget
        if isinstance(self.it, functools.cached_property):
            return self.it.func
        return inspect.unwrap(self.it) if inspect.isfunction(self.it) else None

    @functools.cached_property
    def read(self) -> NumpyDocString:
        """The docstring as numpydoc reads it; what it would only warn of is an error."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return NumpyDocString(self.text)


@functools.cache
def public() -> list[Thing]:
    """Return every public name once: of the package, of its rooms, of the modules and classes that they show."""
    every = [(thing, it) for name, it in _of_module("", fl) for thing in _with_members(name, it)]
    every.sort(key=lambda each: each[0].owner not in (None, each[1]))  # what is inherited by the name of its own class
    things: dict[int, Thing] = {}
    for thing, _ in every:
        things.setdefault(id(thing.function or thing.it), thing)
    return list(things.values())


def _of_module(prefix: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    shown = getattr(module, "__all__", None) or [
        name
        for name, it in vars(module).items()
        if not name.startswith("_") and getattr(it, "__module__", None) == module.__name__
    ]
    own, modules = [], []
    for name in shown:
        it = getattr(module, name)
        (modules if isinstance(it, ModuleType) else own).append((prefix + name, it))
    for name, it in own:
        if isinstance(it, type) or callable(it):
            yield name, it
    for name, it in modules:
        yield from _of_module(name + ".", it)


def _with_members(name: str, it: object) -> Iterator[Thing]:
    yield Thing(name, it)
    kinds = (property, functools.cached_property, classmethod, staticmethod)
    seen: set[str] = set()
    for base in it.__mro__ if isinstance(it, type) else ():
        if base.__module__.startswith("fpgmlab"):
            for key, member in vars(base).items():
                shown = key not in seen and not key.startswith("_")
                if shown and (inspect.isfunction(member) or isinstance(member, kinds)):
                    yield Thing(f"{name}.{key}", member, base)
            seen |= set(vars(base))


def lacks(thing: Thing) -> list[str]:
    """Return what a docstring lacks, in words."""
    if not thing.text:
        return ["says nothing"]
    if thing.inherits:
        return []
    try:
        thing.read  # noqa: B018
    except Exception as error:  # whatever it warns of or cannot read
        return [f"is not read by numpydoc: {error}"]
    looks = (_summary, _parameters, _returns, _raises, _units, _source, _references)
    return [words for look in looks for words in look(thing)]


def _summary(thing: Thing) -> Iterator[str]:
    first = " ".join(thing.read["Summary"])
    if not first.endswith((".", ":", "?")):
        yield f"no summary that is a sentence: {first!r}"


def _named(thing: Thing, *sections: str) -> dict[str, Parameter]:
    """Return the entries of sections by name, ``a, b`` apart."""
    return {
        name.strip().lstrip("*"): entry
        for section in sections
        for entry in thing.read[section]
        for name in entry.name.split(",")
    }


def _parameters(thing: Thing) -> Iterator[str]:
    if isinstance(thing.it, type):
        yield from _fields(thing)
        return
    if thing.function is None or isinstance(thing.it, (property, functools.cached_property)):
        return
    asked = [p for p in inspect.signature(thing.function).parameters if p not in ("self", "cls") and p[0] != "_"]
    told = _named(thing, "Parameters", "Other Parameters")
    above = [_named(other, "Parameters") for other in (*thing.overrides, *_alike(thing))]
    if not told and len(asked) <= FEW:
        missing = [name for name in asked if not _mentions(thing.text, name)]
    else:
        missing = [name for name in asked if name not in told]
    missing = [name for name in missing if not any(name in others for others in above)]
    if missing:
        yield f"parameters that are not told: {', '.join(missing)}"
    if extra := set(told) - set(asked):
        yield f"parameters that there are not: {', '.join(sorted(extra))}"
    hints = inspect.get_annotations(thing.function)
    for name in asked:
        if _is_array(hints.get(name)):
            words = f"{told[name].type} {' '.join(told[name].desc)}" if name in told else thing.text
            if not _has_shape(words) and not ELSEWHERE.search(words):
                yield f"no shape of {name}"


def _alike(thing: Thing) -> list[Thing]:
    """Return what a docstring refers to: "as `x` does"."""
    known = {name: other for other in public() for name in (other.name, f"fpgmlab.{other.name}")}
    beside = {other.name.rpartition(".")[2]: other for other in public() if other.owner is None}
    return [known.get(name, beside.get(name, thing)) for name in ALIKE.findall(" ".join(thing.text.split()))]


def _mentions(text: str, name: str) -> bool:
    """Tell whether a text names a parameter: as a word, or as words, one or many of them."""
    words = re.escape(name).replace("_", "[_ ]")
    stem = words[:-1] if words.endswith("s") else words
    return re.search(rf"\b{stem}(s|es|'s)?\b", " ".join(text.split()), re.IGNORECASE) is not None


def _is_array(hint: object) -> bool:
    """Tell whether an annotation is of arrays whose shape a docstring can tell: not of any that have names."""
    if not isinstance(hint, str) or re.match(r"(dict|Mapping|Iterator)\[(str, )?Tensor\]|(.*\|)? ?Callable", hint):
        return False
    return re.search(r"\b(Tensor|ndarray|ArrayLike|Scores)\b", hint) is not None


def _has_shape(words: str) -> bool:
    flat = re.sub(r"\(([\w ]+[+*/] [\w ]+)\)", r"\1", " ".join(words.split()))  # of (a, b * (c + d))
    return SHAPE.search(flat) is not None


def _fields(thing: Thing) -> Iterator[str]:
    kind = thing.it
    told = _named(thing, "Parameters", "Other Parameters")
    all_told = told | _named(thing, "Attributes")
    for base in kind.__mro__[1:]:
        if base.__module__.startswith("fpgmlab") and base.__doc__:
            all_told |= _named(Thing(base.__name__, base), "Parameters", "Attributes")
    if dataclasses.is_dataclass(kind):
        fields = {f.name: f for f in dataclasses.fields(kind)}
        asked = [f.name for f in fields.values() if f.init and f.name[0] != "_"]
        if missing := [name for name in fields if name[0] != "_" and name not in all_told]:
            yield f"fields that are not told: {', '.join(missing)}"
        arrays = {name: field.type for name, field in fields.items() if name in all_told}
        own = set()
    elif "__init__" in vars(kind) and not getattr(kind, "_is_protocol", False):
        signature = inspect.signature(vars(kind)["__init__"])
        asked = [p for p in signature.parameters if p != "self" and p[0] != "_"]
        if told and (missing := [name for name in asked if name not in told]):
            yield f"parameters that are not told: {', '.join(missing)}"
        if not told and not _named(thing, "Attributes") and asked:
            yield f"neither parameters nor attributes: {', '.join(asked)}"
        hints = inspect.get_annotations(vars(kind)["__init__"])
        arrays = {name: hints.get(name) for name in asked if name in all_told}
        # Parts of a network are seen in its ``repr``.
        own = set() if issubclass(kind, nn.Module) else _assigned(kind) - set(all_told) - set(dir(kind))
    else:
        return
    own |= {n for n, trait in vars(kind).items() if isinstance(trait, TraitType) and n[0] != "_" and n not in all_told}
    own -= {name for name in own if vars(kind)[name].metadata.get("sync")} if issubclass(kind, HasTraits) else set()
    if own:
        yield f"attributes that are not told: {', '.join(sorted(own))}"
    if extra := set(told) - set(asked):
        yield f"parameters that there are not: {', '.join(sorted(extra))}"
    for name, hint in arrays.items():
        words = f"{all_told[name].type} {' '.join(all_told[name].desc)}"
        if _is_array(hint) and not _has_shape(words) and not ELSEWHERE.search(words):
            yield f"no shape of {name}"


def _assigned(kind: type) -> set[str]:
    """Return the public attributes that a class has from its ``__init__``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["__init__"])))
    targets = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return {node.attr for node in targets if isinstance(node.value, ast.Name) and node.attr[0] != "_"}


def _returns(thing: Thing) -> Iterator[str]:
    if isinstance(thing.it, type) or thing.function is None:
        return
    hint = inspect.get_annotations(thing.function).get("return")
    if hint in (None, "None", "NoReturn"):
        return
    is_property = isinstance(thing.it, (property, functools.cached_property))
    said = re.search(r"\b(return|yield|give|tell)s?\b", thing.text.partition("\n\n")[0], re.IGNORECASE)
    if not (is_property or said or thing.read["Returns"] or thing.read["Yields"]):
        yield f"what it returns ({hint})"
    if _is_array(hint) and not _has_shape(thing.text):
        yield "no shape of what it returns"


def _raises(thing: Thing) -> Iterator[str]:
    functions = (
        [vars(thing.it)[k] for k in ("__init__", "__post_init__") if k in vars(thing.it)]
        if isinstance(thing.it, type)
        else [thing.function]
    )
    if isinstance(thing.it, type) and not dataclasses.is_dataclass(thing.it) and not _named(thing, "Parameters"):
        return  # nobody makes one by hand
    found = {name for function in functions if inspect.isfunction(function) for name in raised(function)}
    told = {
        name.strip()
        for one in (thing, *_alike(thing))
        for entry in one.read["Raises"]
        for name in entry.type.split(",")
    }
    told |= set(re.findall(r"`(\w+(?:Error|Exception))`", thing.text))
    kinds = tuple(getattr(builtins, name) for name in told if hasattr(builtins, name))
    found.discard(NEVER.get(thing.name, ""))
    if missing := {name for name in found - told if not issubclass(getattr(builtins, name, type), kinds)}:
        yield f"errors that are not told: {', '.join(sorted(missing))}"


@functools.cache
def told_themselves() -> frozenset[Callable[..., object]]:
    """Return the public functions: what they raise is told by them."""
    return frozenset(thing.it for thing in public() if inspect.isfunction(thing.it))


def raised(function: Callable[..., object], depth: int = 1) -> set[str]:
    """Return the names of errors that a function raises itself, or in a helper that it calls by name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func)
            if name[0].isupper() and name not in ("NotImplementedError", "AssertionError", "StopIteration"):
                found.add(name)
        elif depth and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            helper = getattr(function, "__globals__", {}).get(node.func.id)
            ours = inspect.isfunction(helper) and helper.__module__.startswith("fpgmlab")
            if ours and helper not in told_themselves():
                found |= raised(helper, depth - 1)
    return found


def _units(thing: Thing) -> Iterator[str]:
    for name, entry in _named(thing, "Parameters", "Attributes", "Other Parameters").items():
        words = f"{entry.type} {' '.join(entry.desc)}"
        if entry.type.startswith(("bool", "{")) or ELSEWHERE.search(words):
            continue
        for pattern, unit in UNITS.items():
            if re.search(pattern, name) and not re.search(rf"\b({unit})\b", words, re.IGNORECASE):
                yield f"no unit of {name}"


def _source(thing: Thing) -> Iterator[str]:
    if thing.name in PUBLISHED and not SOURCE.search(thing.text):
        yield "where it was published"


def _references(thing: Thing) -> Iterator[str]:
    """Look for names in single backticks that lead nowhere: from the module, the class, the room, ``fl`` or in full."""
    module = importlib.import_module((thing.owner or thing.function or thing.it).__module__)
    room = importlib.import_module(".".join(module.__name__.split(".")[:2]))
    places = (thing.it if isinstance(thing.it, type) else thing.owner, module, room, fl, builtins)
    for name in re.findall(r"(?<![`:])`([^`\n]+)`(?!`)", thing.text):
        if not any(_leads(place, name.removesuffix("()")) for place in places) and not _is_there(name):
            yield f"leads nowhere: {name}"


def _leads(place: object, name: str) -> bool:
    owner, _, last = name.rpartition(".")
    try:
        there = attrgetter(owner)(place) if owner else place
    except AttributeError:
        return False
    return hasattr(there, last) or (isinstance(there, type) and last in _named(Thing("", there), "Attributes"))


@functools.cache
def _is_there(name: str) -> bool:
    """Tell whether a dotted name leads from a package to something in it."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        return _leads(module, ".".join(parts[count:]))
    return False
