"""AI: models by name, and what vendors' adapters need. This build has the built-in models only."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from app.settings import SettingError, Settings
from tools.errors import Invalid

if TYPE_CHECKING:
    import httpx
    from langchain_core.language_models import BaseChatModel

BUILTIN = "builtin"
CONNECT_SECONDS = 5.0


class Models:
    """Keys and one HTTP client; its calls have a deadline that is a little longer than VENDOR_SECONDS."""

    def __init__(self, keys: Mapping[str, str], http: "httpx.AsyncClient") -> None:
        self._keys, self._http = keys, http

    @property
    def keys(self) -> Mapping[str, str]:
        return self._keys

    @property
    def http(self) -> "httpx.AsyncClient":
        return self._http

    def chat_model(self, name: str) -> "BaseChatModel":
        raise Invalid("there is no chat model in this build", code="model_not_available", detail={"model": name})


@contextlib.asynccontextmanager
async def open_ai(settings: Settings) -> AsyncIterator[Models]:
    """Fails: SettingError when a default model is named that this build does not have."""
    import httpx

    for name, model in {
        "DEFAULT_MODEL_REASONING": settings.default_model_reasoning,
        "DEFAULT_MODEL_VISION": settings.default_model_vision,
    }.items():
        if model != BUILTIN:
            raise SettingError(f"{name} must be {BUILTIN} in this version, not {model!r}")
    timeout = httpx.Timeout(settings.vendor_seconds + CONNECT_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(trust_env=False, timeout=timeout) as http:
        yield Models(settings.vendor, http)
