"""Plugins: objects under one well-known name, in modules of an own package and in other packages' entry points.

Both are written the same way. An entry point names the object itself, as in `zine = "tiny_zine:generator"`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import Generic, Protocol, TypeGuard, TypeVar


class Identified(Protocol):
    """An object with an id."""

    @property
    def id(self) -> str: ...


Plugin = TypeVar("Plugin", bound=Identified)


@dataclass(frozen=True)
class Plugins(Generic[Plugin]):
    """`found` by id, in the order of ids; `unusable` has one line for each entry point without a usable object."""

    found: Mapping[str, Plugin]
    unusable: Sequence[str]


def discover(
    package: ModuleType, name: str, group: str, accepts: Callable[[object], TypeGuard[Plugin]]
) -> Plugins[Plugin]:
    """The objects called `name` in all modules of the package, and those of the entry points of `group`.

    An entry point that cannot be loaded, is no plugin or has an id that is taken is reported in `unusable`.
    Fails: TypeError, ValueError for the same faults in a module of the package.
    """
    found: dict[str, Plugin] = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        names = vars(importlib.import_module(module.name))
        if name not in names:
            continue
        plugin = names[name]
        if not accepts(plugin):
            raise TypeError(f"{module.name}.{name} is no {name}")
        if plugin.id in found:
            raise ValueError(f"{module.name}: the {name} id {plugin.id!r} is taken")
        found[plugin.id] = plugin
    unusable: list[str] = []
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        message = f"the {name} {entry.name!r} of the entry point {entry.value!r} is left out"
        try:
            plugin = entry.load()
        except Exception as error:  # noqa: BLE001 - another package's import may fail in any way; ours runs without it
            first_line = next(iter(str(error).splitlines()), "")
            unusable.append(f"{message}: {type(error).__name__}: {first_line}")
            continue
        if not accepts(plugin):
            unusable.append(f"{message}: the object is no {name}")
        elif plugin.id in found:
            unusable.append(f"{message}: the id {plugin.id!r} is taken")
        else:
            found[plugin.id] = plugin
    return Plugins(MappingProxyType(dict(sorted(found.items()))), tuple(unusable))
