"""What a pickle becomes: plain data, records of foreign objects, and nothing that can act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor

DTYPES = MappingProxyType({
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
        torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
    )
})  # fmt: skip
STORAGES = MappingProxyType({
    ("torch", "DoubleStorage"): torch.float64, ("torch", "FloatStorage"): torch.float32,
    ("torch", "HalfStorage"): torch.float16, ("torch", "BFloat16Storage"): torch.bfloat16,
    ("torch", "ComplexFloatStorage"): torch.complex64, ("torch", "ComplexDoubleStorage"): torch.complex128,
    ("torch", "LongStorage"): torch.int64, ("torch", "IntStorage"): torch.int32, ("torch", "ShortStorage"): torch.int16,
    ("torch", "CharStorage"): torch.int8, ("torch", "ByteStorage"): torch.uint8, ("torch", "BoolStorage"): torch.bool,
    ("torch.storage", "UntypedStorage"): torch.uint8,
})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Record:
    """What a file says about an object of some class, as inert data.

    Attributes
    ----------
    cls : str
        The class or function that the file names, such as ``"models.yolo.Model"``. It was not looked up.
    args, kwargs
        What it would have been called with.
    state
        What the object would have been given as its attributes: a dict as a rule, None when there is nothing.
    items, mapping
        What a list or dict of that class would hold.
    """

    cls: str
    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    state: Any = None
    items: list = field(default_factory=list)
    mapping: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Record of {self.cls}>"  # a tree may contain itself


class Sealed:
    """What a pickle can get hold of while it is read, and cannot change with BUILD."""

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError("it sets attributes of something that has none")


class Building(Record):
    """A record that the pickle machine can still fill; afterwards it is a `Record`."""

    def __setstate__(self, state: object) -> None:
        object.__setattr__(self, "state", state)

    def __setitem__(self, key: object, value: object) -> None:
        self.mapping[key] = value

    def append(self, item: object) -> None:
        self.items.append(item)

    def extend(self, items: list) -> None:
        self.items.extend(items)


class Loading(Sealed, Tensor):
    """A tensor while the pickle is read (BUILD could move an ordinary one elsewhere); afterwards it is a `Tensor`."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch itself does


class Ordered(dict):
    """An OrderedDict; a dict keeps its order. The attributes that torch hangs on a state dict are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class NameType(type):
    """The type of stand-ins for the classes and functions that a file names; each file gets fresh ones."""

    cls: str

    def __setstate__(cls, state: object) -> NoReturn:
        raise ValueError(f"it sets attributes of {cls.cls}")

    def __repr__(cls) -> str:
        return f"<name {cls.cls}>"


@dataclass(frozen=True)
class Maker(Sealed):
    """A call that a file may make: of a function of this module, with checked arguments."""

    make: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.make(*args)


@dataclass(frozen=True, eq=False)
class Storage(Sealed):
    """Bytes of the file, as numbers of one dtype."""

    untyped: torch.UntypedStorage
    dtype: torch.dtype


def _bytes(content: Any = b"", encoding: Any = "latin1") -> bytes:
    if isinstance(content, str) and encoding in ("latin1", "latin-1"):  # how protocol 2 writes bytes
        return content.encode("latin1")
    if not isinstance(content, bytes):  # bytes(10**12) is a lot of memory
        raise ValueError(f"bytes are made of {type(content).__name__}")
    return content


def _plain(make: Callable[..., Any], *kinds: type) -> Maker:
    """Allow a constructor, on arguments of these kinds only."""

    def checked(*args: Any) -> Any:
        if not all(isinstance(arg, kinds) for arg in args):
            raise ValueError(f"{make.__name__} is called with {[type(arg).__name__ for arg in args]}")
        return make(*args)

    return Maker(checked)


def _flat(items: Any = ()) -> tuple:
    """Make a tuple; one of tuples could be a key that takes for ever to hash, unseen by `check_opcodes`."""
    if not (isinstance(items, list | tuple) and all(isinstance(i, int | float | str | None) for i in items)):
        raise ValueError("a tuple is made of something other than numbers and text")
    return tuple(items)


def _device(*args: str | int) -> str:
    return ":".join(map(str, args))


MAKERS = MappingProxyType(
    {f"builtins.{make.__name__}": _plain(make, list, tuple) for make in (list, set, frozenset, dict)}
    | {
        "builtins.slice": _plain(slice, int, type(None)),
        "builtins.complex": _plain(complex, float),
        "builtins.bytes": Maker(_bytes),
        "builtins.bytearray": Maker(lambda *args: bytearray(_bytes(*args))),
        "_codecs.encode": Maker(_bytes),
        "collections.OrderedDict": _plain(Ordered, list, tuple),
        "builtins.tuple": Maker(_flat),
        "torch.Size": Maker(_flat),
        "torch.device": _plain(_device, str, int),
        "torch._utils._rebuild_parameter": Maker(lambda data, *_unused: data),
        "torch._utils._rebuild_parameter_with_state": Maker(lambda data, *_unused: data),
    }
)
