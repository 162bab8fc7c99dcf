"""The names and the place that this server is reached by: the Host header, PUBLIC_URL and its path.

A page on a foreign name whose owner points that name at this machine (DNS rebinding) is of the same origin as we are,
as far as a browser can see: only the Host header tells. A literal IP address cannot be pointed anywhere else, so it is
always taken; it is how probes, and clients of a server on 0.0.0.0, usually come.
"""

import ipaddress
import re
from typing import cast
from urllib.parse import unquote, urlsplit

from litestar.types import Scope

from app.http.errors import Misdirected
from app.settings import Settings
from tools import env
from tools.errors import Invalid

HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{0,5}))?")
"""RFC 9110 §7.2: a name, an IPv4 address or a bracketed IPv6 one, perhaps with a port."""


def check_host(scope: Scope, settings: Settings) -> None:
    """Let a request through that has no Host header (HTTP/1.0), or one that names this server.

    Names are PUBLIC_URL's, HOST, loopback ones and ALLOWED_HOSTS; every literal IP address counts as one.
    Fails: Invalid (400) for a header that is no host · Misdirected.
    """
    given = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
    if not given:
        return
    found = HOST.fullmatch(given[0])
    name = None if found is None or len(given) > 1 else _name(found)
    if name is None:
        raise Invalid("Host must be one name or address, with a port from 1 to 65535", code="bad_host", status=400)
    if not _is_own(name, settings):
        message = f"this server is not known as {name[:253]}; name that host in PUBLIC_URL or ALLOWED_HOSTS"
        raise Misdirected(message, detail={"setting": "ALLOWED_HOSTS"})


def _name(host: re.Match[str]) -> str | None:
    """The name or address in lower case; None when its port or its address cannot be."""
    if host[3] and not 1 <= int(host[3]) <= 65535:
        return None
    if host[1] is None:
        return host[2].lower().rstrip(".") or None
    try:
        return str(ipaddress.IPv6Address(host[1]))
    except ValueError:
        return None


def _is_own(name: str, settings: Settings) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        own = {"localhost", settings.host.lower(), urlsplit(settings.public_url).hostname, *settings.allowed_hosts}
        wide = (allowed[1:] for allowed in settings.allowed_hosts if allowed.startswith("*."))
        return name in own or name.endswith((".localhost", *wide))
    return True


def public_origin(settings: Settings) -> str:
    """The origin of PUBLIC_URL as browsers write it: scheme and host, with a port that is not the scheme's own."""
    parts = urlsplit(settings.public_url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, usual) else f":{parts.port}")


def base_path(settings: env.Settings) -> str:
    """The path of PUBLIC_URL without a slash at its end; empty for a server at the root of its host."""
    return urlsplit(settings.public_url).path.rstrip("/")


def below_base(scope: Scope, base: str, rooms: frozenset[str]) -> Scope:
    """The request as a server at the root gets it, for a proxy that passes the path of PUBLIC_URL on.

    `rooms` are the first segments of our routes: a proxy that strips the path is taken at its word, also where the path
    of PUBLIC_URL begins like one of them.
    """
    rest = scope["raw_path"].removeprefix(base.encode())
    if not base or rest == scope["raw_path"] or rest[:1] not in (b"", b"/"):
        return scope
    segments = rest.decode("latin-1").split("/")
    if len(segments) > 1 and segments[1] and segments[1] not in rooms:
        return scope
    return cast(Scope, {**scope, "path": unquote(rest.decode("latin-1")) or "/", "raw_path": rest or b"/"})
