"""Which image providers there are, and what each of them needs before it can be used."""

import functools
from typing import Any, TypeGuard

import msgspec

import adapters
from adapters.openai.images import image_servers
from adapters.provider import Capability, ProviderAdapter, Providers
from tools.env import Env
from tools.plugins import Plugins, discover

GROUP = "picasso.adapters"
"""Entry points of this group name the `adapter` of another package."""


class ProviderInfo(msgspec.Struct, frozen=True, rename="camel"):
    """A provider as `GET /api/providers` shows it: `missing` are the variables to set before it can be used."""

    id: str
    configured: bool
    needs: list[str]
    missing: list[str]
    free: bool
    capabilities: list[Capability]


def is_adapter(plugin: object) -> TypeGuard[ProviderAdapter[Any]]:
    """Whether it has all that the contract asks for, and names its variables as words."""
    return (
        isinstance(plugin, ProviderAdapter)
        and not isinstance(plugin, type)
        and isinstance(plugin.id, str)
        and all(isinstance(names, tuple) for names in (plugin.needs, plugin.optional))
        and all(isinstance(name, str) for name in (*plugin.needs, *plugin.optional))
    )


@functools.cache
def adapters_found() -> Plugins[ProviderAdapter[Any]]:
    """The adapters of this folder and of other packages, looked for once in a process."""
    return discover(adapters, "adapter", GROUP, is_adapter)


def providers(env: Env) -> Providers:
    """Every provider of this installation by its id: those that were found, and the image servers of its settings."""
    return {**adapters_found().found, **{server.id: server for server in image_servers(env)}}


def missing(adapter: ProviderAdapter[Any], env: Env) -> list[str]:
    """The variables that must be set before the provider can be used."""
    return [name for name in adapter.needs if name not in env.AI.keys]


def describe(env: Env) -> list[ProviderInfo]:
    """All providers, configured or not, those of the settings last."""
    return [
        ProviderInfo(
            id=adapter.id,
            configured=not missing(adapter, env),
            needs=list(adapter.needs),
            missing=missing(adapter, env),
            free=adapter.free,
            capabilities=adapter.capabilities(),
        )
        for adapter in providers(env).values()
    ]
