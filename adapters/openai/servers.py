"""The servers that speak OpenAI's image API: OpenAI's own, the one behind OPENAI_BASE_URL, and those of IMAGE_SERVERS.

What a server lists under `/models` is read by the binding AI, at start and now and then. A model that the catalogue
does not know is unpriced, and is sent nothing but what every such server takes.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from adapters.http_failures import is_vendors_own
from tools.env import Env, ImageServer, Settings
from tools.models.catalog import AnySize, ImageModel, chat_models, offered

PROVIDER = "openai"
BASE_URL = "https://api.openai.com/v1"
DOMAIN = "api.openai.com"
UNNAMED = "default"
"""The model of a server that names none: no model is sent to it."""
REFERENCES = 15
LISTED_MODELS = 200
"""What is kept of a list; a gateway to everything has thousands."""


class Server(NamedTuple):
    """Where calls go. `url` has no query; `streams`: whether previews can be asked for."""

    url: str
    query: dict[str, str]
    key: str | None
    streams: bool

    @property
    def headers(self) -> dict[str, str]:
        """Azure's form of the key, for an address in Azure's form: it does not take OpenAI's there."""
        return {"api-key": self.key} if self.key and "api-version" in self.query else {}


class Listed(msgspec.Struct):
    """An entry of `/models`. The rest are gateways' own words for what a model gives; most say nothing."""

    id: str
    mode: object = None
    type: object = None
    output_modalities: object = None
    architecture: object = None


class Listing(msgspec.Struct):
    data: list[Listed]


def server_of(provider: str, env: Env) -> Server:
    """The server of the provider `openai` or of one of IMAGE_SERVERS."""
    if provider != PROVIDER:
        named = env.settings.image_servers[provider]
        return parse_server(named.url, named.key)
    url, key = env.AI.keys.get("OPENAI_BASE_URL", BASE_URL), env.AI.keys["OPENAI_API_KEY"]
    return parse_server(url, key, streams=env.settings.openai_stream or is_vendors_own(url, DOMAIN))


def parse_server(address: str, key: str | None, *, streams: bool = False) -> Server:
    """The server at an address, which may have a query, such as Azure's `api-version`."""
    parts = urlsplit(address)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return Server(url, dict(parse_qsl(parts.query)), key, streams)


def own_servers(settings: Settings, keys: Mapping[str, str]) -> dict[str, ImageServer]:
    """The servers that are not OpenAI's own, by provider: those whose lists are worth reading."""
    own = dict(settings.image_servers)
    url, key = keys.get("OPENAI_BASE_URL"), keys.get("OPENAI_API_KEY")
    if url and key and not is_vendors_own(url, DOMAIN):
        own[PROVIDER] = ImageServer(url, key, settings.openai_models)
    return own


def models_of(provider: str, env: Env) -> list[ImageModel]:
    """The models of the provider, its default first: those that the settings name, then those that its server lists.

    Of OpenAI itself, and of a server that says nothing of its models, they are those of the catalogue.
    """
    own = own_servers(env.settings, env.AI.keys).get(provider)
    known = {model.id: model for model in offered(PROVIDER)}
    if own is None:
        names: Iterable[str] = (*env.settings.openai_models, *known)
    else:
        names = (*own.models, *env.AI.listed.get(provider, ())) or (known if provider == PROVIDER else (UNNAMED,))
    return [known.get(name) or unknown(provider, name) for name in dict.fromkeys(names)]


def unknown(provider: str, name: str) -> ImageModel:
    """A model of which nothing is known but its name."""
    return ImageModel(
        provider=provider,
        id=name,
        kinds=["generate", "edit", "inpaint", "outpaint", "variation"],
        sizes=["1024x1024"],
        any_size=AnySize(shortest=16, longest=8192),
        references=REFERENCES,
        wire={"plain": True},
        checked=datetime.datetime.now(datetime.UTC).date(),
        source="the settings, or the list of its server",
    )


def listed_models(body: bytes) -> tuple[str, ...]:
    """The models of an answer of `/models` that may be models of images, in its order.

    Most servers do not say what a model is for: left out are those that say something else, and known chat models.
    Fails: msgspec.DecodeError when it is no such answer.
    """
    listing = msgspec.json.decode(body, type=Listing)
    chats = {model.id for provider in ("openai", "gemini", "workers") for model in chat_models(provider)}
    names = [entry.id for entry in listing.data if entry.id not in chats and _may_make_images(entry)]
    return tuple(names[:LISTED_MODELS])


def _may_make_images(entry: Listed) -> bool:
    inner = entry.architecture if isinstance(entry.architecture, dict) else {}
    said = [entry.mode, entry.type, entry.output_modalities, inner.get("output_modalities")]
    words = [str(word) for word in said if word and word != "model"]
    return not words or any("image" in word for word in words)
