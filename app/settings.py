"""Settings: every environment variable, read once. README has the same table."""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

import msgspec

from tools.env import ImageServer
from tools.format import to_micros
from tools.publishing.addresses import CLOUDFLARE

T = TypeVar("T")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PAIR = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\]|[0-9a-f:]+):[0-9]{1,5}")
"""A host, or an IPv6 address with or without brackets, and a port."""
MODEL_CHARS = 128
SERVER = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""The name of an image server, which is its provider's too."""
ADDRESS = "_BASE_URL"
"""How the name of a vendor's variable ends that holds an address and no secret."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingError(ValueError):
    """A setting that cannot be used; the message is one line that begins with its name."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of this process. Sizes in bytes, times in seconds unless the name says otherwise."""

    home: Path
    db: str
    bucket: str
    images: str
    redis_url: str | None
    default_model_reasoning: str
    default_model_vision: str
    api_key: str | None
    host: str
    port: int
    public_url: str
    vendor: Mapping[str, str]
    """The vendors' keys and addresses that are set, by environment name."""
    openai_stream: bool
    """Whether the server behind OPENAI_BASE_URL streams images; OpenAI's own does."""
    openai_models: tuple[str, ...]
    """Image models of the provider `openai` by name, known to the catalogue or not; the first is the default one."""
    image_servers: Mapping[str, ImageServer]
    """Further servers that speak OpenAI's image API, each a provider of its name."""
    vendor_5xx: Literal["uncertain", "retry"]
    """What an error 5xx means of a server behind a base URL of the user's own."""
    s3_keys: Mapping[str, str]
    """The keys of BUCKET on S3 that are set, by boto3's own names."""
    max_body: int
    max_image: int
    image_memory: int
    """Bytes of images in hand at once."""
    jobs_per_minute: int
    provider_width: Mapping[str, int]
    """Concurrent calls per provider; the key `*` is for providers that are not named."""
    vendor_seconds: float
    job_lease_seconds: float
    prices: Path | None
    unpriced_micros: int
    """What a paid call counts as when its price is unknown, in micro-USD."""
    cors_origins: tuple[str, ...]
    embed_origins: tuple[str, ...]
    """Origins whose pages may show public pages in a frame."""
    allowed_hosts: tuple[str, ...]
    """Names in lower case that the server is known by besides PUBLIC_URL's; `*.host` stands for all names below it."""
    trusted_proxies: tuple[Any, ...]
    """Networks. Typed Any, because Litestar lets msgspec inspect this Struct, which refuses the union `Network`."""
    memory_days: int
    reads_need_key: bool
    view_ip: Literal["truncated", "full", "hashed", "none"]
    sketch_seconds: float
    fetch_allow: frozenset[str]
    """`host:port` pairs that may be fetched although they are not public addresses."""
    otlp_endpoint: str | None
    """Where OpenTelemetry spans go."""
    console_token: str | None = None
    """What the link to the console signs in with, once; made at each start of a loopback server, and no variable."""
    secrets: frozenset[str]
    """Every configured value that must never be shown or logged."""

    @property
    def delivery_url(self) -> str | None:
        """The URL below which Cloudflare delivers images; None where this server does."""
        if self.images.startswith("file:"):
            return None
        return f"{CLOUDFLARE}/{self.images.rstrip('/').rpartition('/')[2]}"

    def __repr__(self) -> str:
        """Without values, because a settings object ends up in tracebacks."""
        return f"Settings(home={str(self.home)!r})"


S3_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NAMES = (
    "PICASSO_HOME",
    "DB",
    "BUCKET",
    "IMAGES",
    "REDIS_URL",
    "DEFAULT_MODEL_REASONING",
    "DEFAULT_MODEL_VISION",
    "API_KEY",
    "HOST",
    "PORT",
    "PUBLIC_URL",
    "OPENAI_MODELS",
    "OPENAI_STREAM",
    "IMAGE_SERVERS",
    "VENDOR_5XX",
    *S3_NAMES,
    "MAX_BODY",
    "MAX_IMAGE",
    "IMAGE_MEMORY",
    "JOBS_PER_MINUTE",
    "PROVIDER_WIDTH",
    "VENDOR_SECONDS",
    "JOB_LEASE_SECONDS",
    "PRICES",
    "UNPRICED_USD",
    "CORS_ORIGINS",
    "EMBED_ORIGINS",
    "ALLOWED_HOSTS",
    "TRUSTED_PROXIES",
    "MEMORY_DAYS",
    "READS_NEED_KEY",
    "VIEW_IP",
    "SKETCH_SECONDS",
    "FETCH_ALLOW",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


def vendor_names() -> tuple[str, ...]:
    """The variables that some provider of images or of chat models needs or can use, those of other packages too."""
    # Looking for providers imports their modules: not every importer of this one should pay for that.
    from adapters.discovery import adapters_found
    from app.bindings.ai.vendors import CHAT_NEEDS

    needed = [name for names in CHAT_NEEDS.values() for name in names]
    named = [name for adapter in adapters_found().found.values() for name in (*adapter.needs, *adapter.optional)]
    return tuple(dict.fromkeys([*needed, *named]))


def process_environment(stage: str | None = None, **given: str | None) -> dict[str, str]:
    """The environment of this process. Values given here (command line) override it in every stage."""
    chosen = {name: value for name, value in given.items() if value is not None}
    environ = {**os.environ, **chosen, **{f"PREVIEW_{name}": value for name, value in chosen.items()}}
    return environ if stage is None else {**environ, "PICASSO_ENV": stage}


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings from these variables. With `PICASSO_ENV=preview`, variables with the prefix `PREVIEW_` override the
    others, and data is kept in `preview/` below the data directory.

    Fails: SettingError naming the first variable that cannot be used.
    """
    stage = _one_of("production", "preview")("PICASSO_ENV", environ.get("PICASSO_ENV") or "production")
    vendors = vendor_names()

    def given(names: Iterable[str]) -> dict[str, str]:
        prefixes = ("", "PREVIEW_") if stage == "preview" else ("",)
        return {
            name: value for prefix in prefixes for name in names if (value := environ.get(prefix + name, "").strip())
        }

    values = given((*NAMES, *vendors))
    home = Path(values.get("PICASSO_HOME", ".picasso"))
    home = (home / "preview" if stage == "preview" else home).expanduser().absolute()

    def get(name: str, default: str, parse: Callable[[str, str], T]) -> T:
        return parse(name, values.get(name, default))

    host, port = get("HOST", "127.0.0.1", _unbracketed), get("PORT", "8000", _whole(0, 65535))
    api_key = values.get("API_KEY")
    if raw_key := (environ.get("PREVIEW_API_KEY") if stage == "preview" else None) or environ.get("API_KEY"):
        check_key(raw_key, "API_KEY")
    if api_key is None and host not in LOOPBACK:
        raise SettingError(f"API_KEY must be set to listen on {host}: without it only a loopback address is allowed")
    return Settings(
        home=home,
        db=get("DB", f"sqlite:///{quoted(home / 'picasso.db')}", _url("sqlite", "postgresql")),
        bucket=get("BUCKET", f"file://{quoted(home / 'bucket')}", _url("file", "s3")),
        images=get("IMAGES", f"file://{quoted(home / 'images')}", _url("file", "cloudflare")),
        redis_url=get("REDIS_URL", "", _url("redis", "rediss", "unix")) if "REDIS_URL" in values else None,
        default_model_reasoning=get("DEFAULT_MODEL_REASONING", "builtin", _model),
        default_model_vision=get("DEFAULT_MODEL_VISION", "builtin", _model),
        api_key=api_key,
        host=host,
        port=port,
        public_url=get("PUBLIC_URL", f"http://{_bracketed(host)}:{port}", _site).rstrip("/"),
        vendor={name: _vendor(name, values[name]) for name in vendors if name in values},
        openai_stream=get("OPENAI_STREAM", "false", _flag),
        openai_models=get("OPENAI_MODELS", "", _names),
        image_servers=_image_servers(get("IMAGE_SERVERS", "", _servers), given),
        vendor_5xx=get("VENDOR_5XX", "uncertain", _one_of("uncertain", "retry")),
        s3_keys={name: _word(name, values[name]) for name in S3_NAMES if name in values},
        max_body=get("MAX_BODY", str(1 << 20), _whole(1024, 1 << 30)),
        image_memory=get("IMAGE_MEMORY", str(256 << 20), _whole(1 << 20, 1 << 40)),
        max_image=get("MAX_IMAGE", str(25 << 20), _whole(1024, 1 << 30)),
        jobs_per_minute=get("JOBS_PER_MINUTE", "600", _whole(1, 1_000_000)),
        provider_width=get("PROVIDER_WIDTH", "4", _widths),
        vendor_seconds=get("VENDOR_SECONDS", "300", _seconds(0.1, 3600)),
        job_lease_seconds=get("JOB_LEASE_SECONDS", "10", _seconds(0.5, 600)),
        prices=get("PRICES", "", _file) if "PRICES" in values else None,
        unpriced_micros=get("UNPRICED_USD", "0.50", _micros),
        cors_origins=get("CORS_ORIGINS", "", _origins),
        embed_origins=get("EMBED_ORIGINS", "", _origins),
        allowed_hosts=get("ALLOWED_HOSTS", "", _host_names),
        trusted_proxies=get("TRUSTED_PROXIES", "127.0.0.1/32,::1/128", _networks),
        memory_days=get("MEMORY_DAYS", "90", _whole(1, 3650)),
        reads_need_key=get("READS_NEED_KEY", "false", _flag),
        view_ip=get("VIEW_IP", "truncated", _one_of("truncated", "full", "hashed", "none")),
        sketch_seconds=get("SKETCH_SECONDS", "0.5", _seconds(0, 600)),
        fetch_allow=get("FETCH_ALLOW", "", _hosts),
        otlp_endpoint=get("OTEL_EXPORTER_OTLP_ENDPOINT", "", _site).rstrip("/")
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in values
        else None,
        secrets=frozenset(_secrets(environ, vendors)),
    )


def quoted(path: Path) -> str:
    """The path as it stands in an address: whatever it contains, `unquoted` gives it back."""
    return quote(os.fsencode(path))


def unquoted(text: str) -> Path:
    """The path that stands in an address, percent-encoded. `#` and `?` need not be: a path has no further parts."""
    return Path(os.fsdecode(unquote_to_bytes(text)))


def check_key(key: str, name: str) -> str:
    """The key, unchanged. Fails: SettingError (beginning with `name`) when it is too weak."""
    if len(key) < 32 or not key.isascii() or not key.isprintable() or " " in key:
        raise SettingError(f"{name} must have at least 32 characters, plain ASCII, and no white space")
    return key


def _secrets(environ: Mapping[str, str], vendors: Sequence[str]) -> Iterator[str]:
    """The values that must never be shown, of both stages. Of the vendors' variables all but addresses are."""
    names = ("API_KEY", *S3_NAMES, *(name for name in vendors if not name.endswith(ADDRESS)))
    for stage in ("", "PREVIEW_"):
        servers = _pairs(environ.get(f"{stage}IMAGE_SERVERS", ""))
        keys = [f"{prefix}{_variable(name)}_API_KEY" for name in servers for prefix in ("", "PREVIEW_")]
        yield from (value for key in keys if (value := environ.get(key, "").strip()))
        yield from (value for name in names if (value := environ.get(stage + name, "").strip()))
        headers = environ.get(f"{stage}OTEL_EXPORTER_OTLP_HEADERS", "").split(",")
        yield from (value for header in headers if (value := unquote(header.partition("=")[2]).strip()))
        for name in ("DB", "REDIS_URL"):
            if (value := environ.get(stage + name, "")).count("@"):
                password = urlsplit(value).password or ""
                yield from {password, unquote(password)} - {""}


def make_langgraph_strict() -> None:
    """Allow stored checkpoints only the types on LangGraph's list of safe ones.

    Effect: sets LANGGRAPH_STRICT_MSGPACK for this process. LangGraph reads it once, when it is first imported.
    """
    os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"


def _unbracketed(name: str, value: str) -> str:
    """A host; of an IPv6 address in the brackets that URLs need, the address."""
    return value[1:-1] if value.startswith("[") and value.endswith("]") else value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise SettingError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
        return int(value)

    return parse


def _seconds(low: float, high: float) -> Callable[[str, str], float]:
    def parse(name: str, value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise SettingError(f"{name} must be a number of seconds from {low} to {high}, not {value!r}")
        return number

    return parse


def _micros(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", value) or not float(value):
        raise SettingError(f"{name} must be an amount of dollars above 0 such as 0.50, not {value!r}")
    return to_micros(float(value))


def _one_of(*words: str) -> Callable[[str, str], Any]:
    def parse(name: str, value: str) -> str:
        if value not in words:
            raise SettingError(f"{name} must be one of {', '.join(words)}, not {value!r}")
        return value

    return parse


def _url(*schemes: str) -> Callable[[str, str], str]:
    def parse(name: str, value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise SettingError(f"{name} must be an address that starts with {' or '.join(s + '://' for s in schemes)}")
        return value

    return parse


def _site(name: str, value: str) -> str:
    """The URL of a server, to which paths are appended."""
    try:
        parts = urlsplit(_word(name, value))
        sound = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        sound = False
    if not sound:
        raise SettingError(f"{name} must be an address such as https://host.example, without a query")
    return value


def _api(name: str, value: str) -> str:
    """The URL of an API, which may have a query, such as Azure's `api-version`."""
    url, _, query = value.partition("?")
    _site(name, url)
    return f"{url}?{_word(name, query)}" if query else url


def _pairs(value: str) -> dict[str, str]:
    """`name=value` pairs, separated by commas."""
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    return {before.strip(): after.strip() for before, _, after in parts}


def _variable(server: str) -> str:
    """How the variables of an image server begin."""
    return server.upper().replace("-", "_")


def _servers(name: str, value: str) -> dict[str, str]:
    from adapters.discovery import adapters_found

    servers = _pairs(value)
    for server, url in servers.items():
        if not SERVER.fullmatch(server) or not url:
            raise SettingError(f"{name} must list name=url pairs, with names such as flux or my-server, not {server!r}")
        if server in adapters_found().found:
            raise SettingError(f"{name} names {server!r}, but there is a provider of that name")
        _api(name, url)
    return servers


def _image_servers(
    servers: Mapping[str, str], given: Callable[[Iterable[str]], Mapping[str, str]]
) -> dict[str, ImageServer]:
    """Each server with its own variables, NAME_API_KEY and NAME_MODELS."""
    made = {}
    for server, url in servers.items():
        key, models = f"{_variable(server)}_API_KEY", f"{_variable(server)}_MODELS"
        own = given((key, models))
        secret = _word(key, own[key]) if key in own else None
        made[server] = ImageServer(url, secret, _names(models, own.get(models, "")))
    return made


def _names(name: str, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (part.strip() for part in value.split(",")))))
    for each in names:
        if len(each) > MODEL_CHARS:
            raise SettingError(f"{name} must list models of at most {MODEL_CHARS} characters")
        _word(name, each)
    return names


def _word(name: str, value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingError(f"{name} must be plain ASCII without white space")
    return value


def _vendor(name: str, value: str) -> str:
    if name == "OPENAI_BASE_URL":
        return _api(name, value)
    return _site(name, value) if name.endswith(ADDRESS) else _word(name, value)


def _model(name: str, value: str) -> str:
    from app.bindings.ai.vendors import CHAT_NEEDS

    named = f"workers:{value}" if value.startswith("@cf/") else value
    if named != "builtin" and named.partition(":")[0] not in CHAT_NEEDS:
        *first, last = (f"{vendor}:…" for vendor in CHAT_NEEDS)
        raise SettingError(f"{name} must be builtin, {', '.join(first)} or {last}, not {value!r}")
    return named


def _widths(name: str, value: str) -> dict[str, int]:
    widths = {"*": 4}
    for part in filter(None, (p.strip() for p in value.split(","))):
        provider, named, number = part.rpartition("=")
        if named and not provider.strip():
            raise SettingError(f"{name} must be a number, or list them by provider as in openai=8, not {part!r}")
        widths[provider.strip() or "*"] = _whole(1, 1000)(name, number.strip())
    return widths


def _flag(name: str, value: str) -> bool:
    return bool(_one_of("true", "false")(name, value.lower()) == "true")


def _file(name: str, value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_file():
        raise SettingError(f"{name} must name a file that exists")
    return path


def _origins(name: str, value: str) -> tuple[str, ...]:
    origins = tuple(filter(None, (part.strip().rstrip("/") for part in value.split(","))))
    for origin in origins:
        if "*" in origin or not re.fullmatch(r"https?://[^/?#\s]+", origin):
            raise SettingError(f"{name} must list exact origins such as https://app.example, not {origin!r}")
    # As browsers write them.
    return tuple(re.sub(r"^(http:.*):80$|^(https:.*):443$", r"\1\2", origin.lower()) for origin in origins)


def _host_names(name: str, value: str) -> tuple[str, ...]:
    names = tuple(filter(None, (part.strip().lower().rstrip(".") for part in value.split(","))))
    for host in names:
        if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", host):
            raise SettingError(f"{name} must list host names such as picasso.lan or *.lan, without ports, not {host!r}")
    return names


def _networks(name: str, value: str) -> tuple[Network, ...]:
    try:
        parts = (part.strip().replace("[", "").replace("]", "") for part in value.split(","))
        return tuple(ipaddress.ip_network(part) for part in parts if part)
    except ValueError as error:
        raise SettingError(f"{name} must list networks such as 10.0.0.0/8: {error}") from error


def _hosts(name: str, value: str) -> frozenset[str]:
    hosts = frozenset(filter(None, (part.strip().lower() for part in value.split(","))))
    for host in hosts:
        if not PAIR.fullmatch(host) or int(host.rpartition(":")[2]) > 65535:
            raise SettingError(f"{name} must list host:port pairs, not {host!r}")
    return hosts
