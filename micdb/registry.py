"""Names of plug-ins, built-in and third-party alike, found by entry point and loaded on first use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from micdb.errors import ContractError, RegistryError, suggestion

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one entry-point group, by name.

    Parameters
    ----------
    group
        Entry-point group, for example ``micdb.readers``.
    contract
        Base class every plug-in must extend.
    """

    def __init__(self, group: str, contract: type[T]) -> None:
        self.group = group
        self.contract = contract
        self._loaded: dict[str, type[T]] = {}

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def _entry(self, name: str) -> EntryPoint:
        """Return the one entry point of that name; two packages that claim it stop nobody but it."""
        values = sorted({entry.value for entry in entry_points(group=self.group, name=name)})
        if len(values) > 1:
            raise RegistryError(
                f"{self.group}: the name {name!r} is claimed by {' and by '.join(values)}; "
                "uninstall one of the two packages"
            )
        return self._entries[name]

    def register(self, plugin: type[T], *, name: str) -> type[T]:
        """Add a plug-in by hand, for notebooks and tests; a taken name is an error."""
        taken = self._loaded.get(name) or self._entries.get(name)
        if taken is not None and taken is not plugin:
            raise RegistryError(f"{self.group}: the name {name!r} is already held by {taken}; choose another")
        self._loaded[name] = self._checked(name, plugin)
        return plugin

    def names(self) -> list[str]:
        """Return every known name, sorted; nothing is imported."""
        return sorted({*self._entries, *self._loaded})

    def get(self, name: str) -> type[T]:
        """Return the plug-in class, importing it on first use.

        Raises
        ------
        RegistryError
            No plug-in has that name.
        ContractError
            What the entry point names does not extend the contract.
        """
        if name not in self._loaded:
            if name not in self._entries:
                raise RegistryError(f"no {self.group} plug-in {name!r}{suggestion(name, self.names())}")
            self._loaded[name] = self._checked(name, self._entry(name).load())
        return self._loaded[name]

    def __iter__(self) -> Iterator[tuple[str, type[T]]]:
        return ((name, self.get(name)) for name in self.names())

    def _checked(self, name: str, plugin: object) -> type[T]:
        if not (isinstance(plugin, type) and issubclass(plugin, self.contract)):
            raise ContractError(
                f"{self.group}: {name!r} is {plugin!r}, not a subclass of {self.contract.__name__}"
            )
        return plugin
