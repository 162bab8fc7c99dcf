"""AI: chat and vision models by name, the values of the vendors' variables, and the HTTP client for their APIs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx

from adapters.gemini.images import API_VERSION as GEMINI_VERSION
from adapters.gemini.images import BASE_URL as GEMINI_URL
from adapters.gemini.images import DOMAIN as GEMINI_DOMAIN
from adapters.http_failures import is_trusted, is_vendors_own
from adapters.openai.servers import BASE_URL as OPENAI_URL
from adapters.openai.servers import DOMAIN as OPENAI_DOMAIN
from adapters.openai.servers import Server, parse_server
from adapters.workers.images import BASE_URL as CLOUDFLARE_URL
from adapters.workers.images import DOMAIN as CLOUDFLARE_DOMAIN
from app.bindings.ai.listings import read_listings
from app.bindings.ai.response_limits import ASKED, Bounding, answer_bytes
from app.bindings.ai.vendors import CHAT_NEEDS
from app.settings import SettingError, Settings
from tools.errors import Invalid
from tools.fetch import tls_context
from tools.models.catalog import catalog
from tools.models.chat_and_vision import BUILTIN, OUTPUT_TOKENS

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from app.bindings.ai.chat_models import OpenAIChat

CONNECT_SECONDS = 10.0
LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=0)
"""No connection is used twice: one that had died of age would make the call that it was to carry uncertain."""
BLIND = frozenset(f"{model.provider}:{model.id}" for model in catalog().chat if not model.vision)
"""Chat models that are known to read nothing but text."""


class Models:
    """The binding `tools.env.AI`. What a model opens is closed with `stack`."""

    def __init__(
        self,
        settings: Settings,
        http: httpx.AsyncClient,
        listed: Mapping[str, tuple[str, ...]],
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self.keys = MappingProxyType(dict(settings.vendor))
        self.listed = listed
        self.http = http
        self._settings = settings
        self._stack = stack
        self._models: dict[str, BaseChatModel] = {}

    def chat_model(self, name: str) -> "BaseChatModel":
        if name == BUILTIN and name not in self._models:
            from app.bindings.ai.builtin_chat.model import BuiltinChat

            self._models[name] = BuiltinChat()
        if name not in self._models:
            if reason := unusable(name, self.keys):
                raise Invalid(f"the chat model {name!r} cannot be used: {reason}", code="unknown_model")
            vendor, _, model = name.partition(":")
            make = {"openai": self._openai, "gemini": self._gemini, "workers": self._workers}[vendor]
            self._models[name] = make(model)
        return self._models[name]

    # Keys and addresses are given outright, so that no variable of LangChain's or of an SDK's own redirects a call.

    def _openai(self, model: str) -> "BaseChatModel":
        server = parse_server(self.keys.get("OPENAI_BASE_URL", OPENAI_URL), self.keys["OPENAI_API_KEY"])
        own = is_vendors_own(server.url, OPENAI_DOMAIN)
        made = self._like_openai(
            model,
            server,
            is_trusted(server.url, OPENAI_DOMAIN, self._settings),
            # OpenAI wants its Responses API for some models; of other servers only chat completions can be expected.
            use_responses_api=None if own else False,
            max_completion_tokens=OUTPUT_TOKENS,
        )
        if own and takes_low_effort(made):
            made.reasoning_effort = "low"
        return made

    def _workers(self, model: str) -> "BaseChatModel":
        base = self.keys.get("CLOUDFLARE_BASE_URL", CLOUDFLARE_URL).rstrip("/")
        url = f"{base}/accounts/{self.keys['CLOUDFLARE_ACCOUNT_ID']}/ai/v1"
        return self._like_openai(
            model,
            parse_server(url, self.keys["CLOUDFLARE_API_TOKEN"]),
            is_trusted(base, CLOUDFLARE_DOMAIN, self._settings),
            use_responses_api=False,
            # The older name of the limit, which every model there knows; without it some end after 256 tokens.
            extra_body={"max_tokens": OUTPUT_TOKENS},
        )

    def _like_openai(self, model: str, server: Server, trusted: bool, **settings: Any) -> "OpenAIChat":
        from openai import Omit

        from app.bindings.ai.chat_models import OpenAIChat

        async def api_key() -> str:
            return server.key or ""

        return OpenAIChat(
            model=model,
            trusted=trusted,
            api_key=api_key,  # awaited for each request; with a plain string a second, blocking client would be made
            base_url=server.url,
            default_query=server.query or None,
            model_kwargs={"extra_headers": {**server.headers, "Authorization": Omit()}} if server.headers else {},
            openai_proxy=None,
            http_async_client=self.http,
            timeout=self.http.timeout,
            max_retries=0,
            include_response_headers=True,
            stream_usage=True,
            **settings,
        )

    def _gemini(self, model: str) -> "BaseChatModel":
        from pydantic import SecretStr

        from app.bindings.ai.chat_models import GeminiChat

        url = self.keys.get("GOOGLE_GEMINI_BASE_URL", GEMINI_URL)
        made = GeminiChat(
            model=model,
            api_key=SecretStr(self.keys["GEMINI_API_KEY"]),
            client_options=url,
            api_version=GEMINI_VERSION,
            trusted=is_trusted(url, GEMINI_DOMAIN, self._settings),
            vertexai=False,
            client_args={
                "headers": ASKED,
                "limits": LIMITS,
                "trust_env": False,
                "follow_redirects": False,
                "event_hooks": {"response": self.http.event_hooks["response"]},
            },
            request_timeout=self.http.timeout.read,
            retries=1,  # of tries, not of repetitions
            max_tokens=OUTPUT_TOKENS,
        )
        if takes_low_effort(made):
            made.reasoning_effort = "low"
        self._stack.push_async_callback(made.aclose)
        return made


@contextlib.asynccontextmanager
async def open_ai(settings: Settings, *, most: int | None = None) -> AsyncIterator[Models]:
    """The models and the vendors' HTTP client, closed at the end. The default models are loaded here.

    `most`: the most bytes of one answer; those of `answer_bytes` when None.

    Fails: SettingError naming the variable, when a default model is of no known vendor, its key is missing, or the
    judge's is known not to see.
    """
    chosen = {
        "DEFAULT_MODEL_REASONING": settings.default_model_reasoning,
        "DEFAULT_MODEL_VISION": settings.default_model_vision,
    }
    for setting, name in chosen.items():
        if name != BUILTIN and (reason := unusable(name, settings.vendor)):
            raise SettingError(f"{setting} is {name}: {reason}")
    if settings.default_model_vision in BLIND:
        raise SettingError(f"DEFAULT_MODEL_VISION is {settings.default_model_vision}: it cannot be shown images")
    deadlines = httpx.Timeout(settings.vendor_seconds, connect=CONNECT_SECONDS)
    async with contextlib.AsyncExitStack() as stack:
        http = httpx.AsyncClient(
            headers=ASKED,
            timeout=deadlines,
            limits=LIMITS,
            verify=tls_context(),
            trust_env=False,
            follow_redirects=False,
            event_hooks={"request": [_connect_soon], "response": [Bounding(most or answer_bytes(settings.max_image))]},
        )
        await stack.enter_async_context(http)
        models = Models(settings, http, await stack.enter_async_context(read_listings(settings, http)), stack)
        for name in {*chosen.values()} - {BUILTIN}:
            # Seconds of imports, in which the loop goes on.
            await asyncio.to_thread(models.chat_model, name)
        yield models


async def _connect_soon(request: httpx.Request) -> None:
    """An SDK's own deadline for the whole call is no reason to wait as long for a connection."""
    request.extensions["timeout"]["connect"] = CONNECT_SECONDS


def takes_low_effort(model: "BaseChatModel") -> bool:
    """Whether its reasoning effort can be set to low: a judge has seconds, and thoughts count as output."""
    return "low" in ((model.profile or {}).get("reasoning_effort_levels") or ())


def unusable(name: str, keys: Mapping[str, str]) -> str | None:
    """Why no vendor has a chat model of this name; None when one does."""
    vendor, _, model = name.partition(":")
    if vendor not in CHAT_NEEDS or not model:
        return f"a model is written as {', '.join(f'{known}:…' for known in CHAT_NEEDS)}"
    missing = [needed for needed in CHAT_NEEDS[vendor] if needed not in keys]
    return f"set {' and '.join(missing)}" if missing else None
