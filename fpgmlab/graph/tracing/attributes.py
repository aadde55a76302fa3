"""Numbers that remember which attribute of a module holds them.

``assert x.shape[1] == self.channels`` and ``gamma.view(self.shape)`` with numbers of a user's own module: where such a
number does nothing but say how many channels there are, a cut writes the new number into the attribute. While tracing,
whole numbers in attributes that could count channels (see `marking`) are `Attribute` objects, so that it shows what
else is done with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Listener(Protocol):
    """Who is told what a model's code does with numbers."""

    def relied_on(self, ids: np.ndarray, reason: str) -> None: ...
    def relied_on_size(self, size: int, reason: str) -> None: ...
    def matched(self, ids: np.ndarray, others: np.ndarray) -> None: ...
    def counted(self, ids: np.ndarray, attribute: Attribute) -> bool: ...
    def spent(self, attribute: Attribute, use: str) -> None: ...


class Owner:
    """The trace that widths and attributes belong to, as long as it runs.

    Parameters
    ----------
    listener : Listener
    as_numbers : bool
        Whether a width, as a key, is found where its number is.
    """

    def __init__(self, listener: Listener, as_numbers: bool = False) -> None:
        self._listener: Listener | None = listener
        self.as_numbers = as_numbers

    def tell(self, ids: np.ndarray, reason: str) -> None:
        """Freeze channels; nothing after the trace has ended."""
        if self._listener is not None:
            self._listener.relied_on(ids, reason)

    def wait(self, size: int, reason: str) -> None:
        """Note that code calculates with a width for each of what an attribute counts: it may stay what it is."""
        if self._listener is not None:
            self._listener.relied_on_size(size, reason)

    def match(self, ids: np.ndarray, others: np.ndarray) -> None:
        """Note that the code was told that there are as many channels as others."""
        if self._listener is not None and not np.array_equal(ids, others):
            self._listener.matched(ids, others)

    def count(self, ids: np.ndarray, attribute: Attribute) -> bool:
        """Note that an attribute holds the number of some channels; return whether it can."""
        return self._listener is not None and attribute.owner is self and self._listener.counted(ids, attribute)

    def spend(self, attribute: Attribute, use: str) -> None:
        """Note that something else is done with an attribute's number."""
        if self._listener is not None:
            self._listener.spent(attribute, use)

    def close(self) -> None:
        """Let go of the trace: caches of others may keep its numbers for long."""
        self._listener = None


class Attribute(int):
    """An int with the name of the attribute that holds it, its place there if that has several, and whom to tell.

    A `Derived` number is one that was worked out from it; read ``attribute``, ``times`` and ``over`` of both.
    """

    name: str
    place: int
    owner: Owner
    times: int | Attribute = 1
    over: int | Attribute = 1

    @classmethod
    def of(cls, value: int, name: str, place: int, owner: Owner) -> Attribute:
        """Return ``value`` as what the attribute ``name`` holds; ``place`` is -1 for a number alone."""
        number = cls(value)
        number.name, number.place, number.owner = name, place, owner
        return number

    @property
    def attribute(self) -> Attribute:
        """The number that a module holds."""
        return self

    @property
    def sources(self) -> tuple[Attribute, ...]:
        """All attributes that the number comes from."""
        return (self.attribute, *(n for n in (self.times, self.over) if isinstance(n, Attribute)))

    def __neg__(self) -> int:
        number = _scaled(self, -1, 1)
        if number is None:
            _spend(self)
        return int.__neg__(self) if number is None else number

    def __copy__(self) -> Attribute:
        return self

    def __deepcopy__(self, memo: dict) -> Attribute:
        return self

    def __reduce__(self) -> tuple:
        return int, (int.__add__(self, 0),)


class Derived(Attribute):
    """A number that is an attribute's, times a whole number, over another one, without remainder.

    ``self.channels // 2`` has ``times`` 1 and ``over`` 2; ``self.channels // self.heads`` has the attribute ``heads``
    as ``over``, ``self.heads * self.size`` the attribute ``size`` as ``times``. As long as it only counts channels none
    of its attributes is spent.
    """

    _attribute: Attribute

    @classmethod
    def by(cls, attribute: Attribute, times: int | Attribute, over: int | Attribute) -> Derived:
        """Return ``attribute * times // over``."""
        number = cls(int.__floordiv__(int.__mul__(attribute, times), over))
        number._attribute, number.name, number.place = attribute, attribute.name, attribute.place
        number.owner, number.times, number.over = attribute.owner, times, over
        return number

    @property
    def attribute(self) -> Attribute:
        """The number that a module holds."""
        return self._attribute


class Combined(Attribute):
    """A sum or difference of numbers: what those in ``plus`` count together, without what those in ``minus`` count."""

    plus: tuple[Attribute, ...]
    minus: tuple[Attribute, ...]

    @classmethod
    def join(cls, value: int, one: Attribute, other: Attribute, less: bool) -> Combined:
        """Return ``value`` as one number plus another one, or less it."""
        number = cls(value)
        number.name, number.place, number.owner = "", -1, one.owner
        added, taken = _terms(other) if not less else _terms(other)[::-1]
        plus, minus = _terms(one)
        number.plus, number.minus = (*plus, *added), (*minus, *taken)
        return number

    @property
    def sources(self) -> tuple[Attribute, ...]:
        """All attributes that the number comes from."""
        return tuple(source for term in (*self.plus, *self.minus) for source in term.sources)


def _terms(number: Attribute) -> tuple[tuple[Attribute, ...], tuple[Attribute, ...]]:
    return (number.plus, number.minus) if isinstance(number, Combined) else ((number,), ())


def _joins(name: str) -> Callable[..., Any]:
    """A sum or difference of two attributes remembers both; any other relies on the number."""
    plain = getattr(int, name)

    def method(self: Attribute, other: Any) -> Any:
        if hasattr(other, "ids"):
            return NotImplemented
        if isinstance(other, Attribute) and other.owner is self.owner:
            return Combined.join(plain(self, other), self, other, less=name == "__sub__")
        if type(other) is int and other == 0 and name != "__rsub__":  # where sum() begins
            return self
        _spend(self, other)
        return plain(self, other)

    return method


def _scaled(number: Attribute, times: int, over: int) -> Derived | None:
    """Return a number times one whole number, or over one; None where something remains, or others are in it."""
    if isinstance(number, Combined) or int.__mod__(int.__mul__(number, times), over):
        return None
    if isinstance(times, Attribute) or isinstance(over, Attribute):
        plain = not any(isinstance(each, (Derived, Combined)) for each in (number, times, over))
        return Derived.by(number, times, over) if plain else None
    if isinstance(number.times, Attribute) or isinstance(number.over, Attribute):
        return None
    return Derived.by(number.attribute, number.times * times, number.over * over)


def _scales(name: str) -> Callable[..., Any]:
    """A product, or a quotient without remainder, remembers its attribute; any other relies on the number."""
    plain = getattr(int, name)

    def method(self: Attribute, other: Any) -> Any:
        if hasattr(other, "ids"):
            return NotImplemented
        value = plain(self, other)
        if isinstance(other, int) and int.__gt__(other, 0):
            number = _scaled(self, 1, other) if name == "__floordiv__" else _scaled(self, other, 1)
            if number is not None:
                return number
        _spend(self, other)
        return value

    return method


def _enters(name: str) -> Callable[..., Any]:
    """A calculation with the number, which would be another one after a cut."""
    plain = getattr(int, name)

    def method(self: Attribute, *others: Any) -> Any:
        if others and hasattr(others[0], "ids"):  # a width, which knows what it is beside an attribute
            return NotImplemented
        if name not in _COMPARISONS or type(others[0]) is not int or others[0] not in (0, 1):
            _spend(self, *others)
        return plain(self, *others)

    return method


def _spend(*numbers: object) -> None:
    for number in numbers:
        if isinstance(number, Attribute):
            number.owner.spend(number, "a calculation")


_COMPARISONS = [f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")]
_ARITHMETIC = ("mod", "truediv", "pow", "divmod", "lshift", "rshift", "and", "or")
_ALONE = ("float", "int", "abs", "round", "invert")
for _name in (*_ARITHMETIC, *(f"r{name}" for name in _ARITHMETIC), "rfloordiv", *_ALONE):
    setattr(Attribute, f"__{_name}__", _enters(f"__{_name}__"))
for _name in _COMPARISONS:
    setattr(Attribute, _name, _enters(_name))
for _name in ("add", "radd", "sub", "rsub"):
    setattr(Attribute, f"__{_name}__", _joins(f"__{_name}__"))
for _name in ("mul", "rmul", "floordiv"):
    setattr(Attribute, f"__{_name}__", _scales(f"__{_name}__"))
