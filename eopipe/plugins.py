"""What installed packages offer under a group of entry points, and what a program registers: one table a kind.

It works as xarray's back ends do: names are read from the metadata of installed packages, and a package is imported
when its name is asked for. A package that cannot be used costs one line, and only the user who names it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Generic, TypeVar

from eopipe.errors import PluginError, one_line

T = TypeVar("T")

OWN, REGISTERED = "eopipe", "this process"
"""Where a name comes from that no other package offers."""


class Table(Mapping[str, T], Generic[T]):
    """Things of one kind by name: eopipe's own, registered ones, and those that installed packages offer.

    Args:
        kind: What they are, for errors: ``kernel``.
        group: The group of entry points: ``eopipe.kernels``.
        built_in: eopipe's own: the value, or the module that holds it, imported at its first use.
        check: Turns what a module or an entry point holds into a value; raises a TypeError that says what is wrong.
    """

    def __init__(
        self, kind: str, group: str, built_in: Mapping[str, T | str], check: Callable[[str, object], T]
    ) -> None:
        self._kind, self._group, self._check = kind, group, check
        self._modules = {name: value for name, value in built_in.items() if isinstance(value, str)}
        self._loaded: dict[str, T] = {name: value for name, value in built_in.items() if not isinstance(value, str)}
        self._built_in, self._registered = frozenset(built_in), set[str]()

    def register(self, name: str, value: T) -> None:
        """Add a value for this process; the same name again replaces what was registered before.

        Raises:
            PluginError: The name is eopipe's own, or an installed package's.
        """
        if name in self._built_in or name in self._offers():
            raise PluginError(f"{self._kind} {name!r} is {self.source(name)}'s; register it under another name")
        self._loaded[name] = value
        self._registered.add(name)

    def forget(self, name: str) -> None:
        """Take a registered value back."""
        self._registered.remove(name)
        del self._loaded[name]

    def loaded(self) -> list[T]:
        """Values that are known without importing a package."""
        return list(self._loaded.values())

    def source(self, name: str) -> str:
        """Package and version that a name comes from; several where several offer it."""
        sources = [_this_package()] if name in self._built_in else [REGISTERED] if name in self._registered else []
        return " and ".join([*sources, *map(_package, self._offers().get(name, ()))])

    def package(self, name: str) -> tuple[str, str] | None:
        """Name and version of the installed package that offers a name; None of eopipe's own and registered ones."""
        offers = self._offers().get(name, ())
        dist = offers[0].dist if offers else None
        return None if dist is None else (dist.name, dist.version)

    def __getitem__(self, name: str) -> T:
        """The value of a name.

        Raises:
            KeyError: There is none.
            PluginError: Its package cannot be imported, holds something else there, or is not the only one with it.
        """
        offers = self._offers().get(name, ())
        taken = name in self._built_in or name in self._registered
        if len(offers) + taken > 1:
            raise PluginError(
                f"{self._kind} {name!r} is offered by {self.source(name)}; keep one of them: "
                f"pip uninstall {_distribution(offers[-1])}"
            )
        if name not in self._loaded:
            if name in self._modules:
                self._loaded[name] = self._check(name, import_module(self._modules[name]))
            elif offers:
                self._loaded[name] = self._load(name, offers[0])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._loaded, *self._modules, *self._offers()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, name: str, offer: EntryPoint) -> T:
        remedy = f"upgrade it (pip install -U {_distribution(offer)}) or uninstall it"
        offered = f"{self._kind} {name!r} is offered by {_package(offer)}"
        try:
            target = offer.load()
        except Exception as error:  # whatever a package of someone else's does when it is imported
            reason = one_line(f"{type(error).__name__}: {error}", 200)
            raise PluginError(f"{offered}, which cannot be imported ({reason}); {remedy}") from error
        try:
            return self._check(name, target)
        except TypeError as error:
            raise PluginError(f"{offered}, and {offer.value} {error}; {remedy}") from error

    def _offers(self) -> Mapping[str, tuple[EntryPoint, ...]]:
        return _installed(self._group, tuple(sys.path))


@lru_cache(maxsize=8)
def _installed(group: str, path: tuple[str, ...]) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Entry points of a group by name; they are looked for again where the path of imports has changed."""
    del path
    offers: dict[str, tuple[EntryPoint, ...]] = {}
    for offer in entry_points(group=group):
        offers[offer.name] = (*offers.get(offer.name, ()), offer)
    return offers


@lru_cache(maxsize=1)
def _this_package() -> str:
    try:
        return f"{OWN} {version(OWN)}"
    except PackageNotFoundError:  # a checkout that is not installed
        return OWN


def _package(offer: EntryPoint) -> str:
    return f"{_distribution(offer)} {offer.dist.version if offer.dist else ''}".strip()


def _distribution(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else offer.module
