"""AI: chat and vision models by name, the vendors' keys, and the HTTP client for their APIs."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

import httpx
from langchain_core.language_models import BaseChatModel

from app.settings import SettingError, Settings
from tools.ai import BUILTIN
from tools.errors import Invalid

CONNECT_SECONDS = 10.0
MODELS = (BUILTIN,)
"""The models of this build, by name."""


class Models:
    """What `tools.env.AI` asks for."""

    def __init__(self, keys: Mapping[str, str], http: httpx.AsyncClient) -> None:
        self.keys = MappingProxyType(dict(keys))
        self.http = http

    def chat_model(self, name: str) -> BaseChatModel:
        raise Invalid(f"there is no chat model {name!r} in this build", code="unknown_model")


@contextlib.asynccontextmanager
async def open_ai(settings: Settings) -> AsyncIterator[Models]:
    """The models and the vendors' HTTP client, closed at the end.

    Fails: SettingError when a default model is set that this build does not have.
    """
    _check("DEFAULT_MODEL_REASONING", settings.default_model_reasoning)
    _check("DEFAULT_MODEL_VISION", settings.default_model_vision)
    deadlines = httpx.Timeout(settings.vendor_seconds, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(timeout=deadlines, trust_env=False, follow_redirects=False) as http:
        yield Models(settings.vendor, http)


def _check(setting: str, model: str) -> None:
    if model not in MODELS:
        raise SettingError(f"{setting} is {model}, but this build has only: {', '.join(MODELS)}")
