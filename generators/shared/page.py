"""Pages of packaged templates: Jinja2 with autoescape, and a policy that allows only the page's own content.

A template has its style in `<style>` blocks and its script, if any, in `<script>` blocks, both without placeholders;
it has no style attributes and no event handler attributes.
"""

import base64
import functools
import hashlib
import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import jinja2
import msgspec

from tools.publishing.addresses import IMAGE, SELF, UP, linked

PUBLIC_SIDE = 2048
"""The maximum longer side of the variant `public`, in pixels."""
DESCRIPTION = 300
"""Characters of a description."""
WIDTHS = (480, 960, 1440)
STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
DARK = b"@media (prefers-color-scheme: dark)"
SAVES = re.compile(r"<a [^>]*\bdownload>")
ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?")


class Picture(msgspec.Struct, frozen=True):
    """A delivered image for `<img>`: `url` is the full size, `srcset` is empty when there are no smaller sizes."""

    url: str
    src: str
    srcset: str
    width: int
    height: int
    alt: str


def picture(url: str, width: int, height: int, alt: str) -> Picture:
    """The image with the widths that this application's delivery offers; another delivery's URL is unchanged."""
    if not IMAGE.fullmatch(url):
        return Picture(url, url, "", width, height, alt)
    url = linked(url)
    base = url.removesuffix("/public")
    scale = min(1.0, PUBLIC_SIDE / max(width, height))
    width, height = round(width * scale), round(height * scale)
    sources = [f"{base}/w={smaller} {smaller}w" for smaller in WIDTHS if smaller < width]
    return Picture(url, url, ", ".join([*sources, f"{url} {width}w"]), width, height, alt)


class About(msgspec.Struct, frozen=True):
    """What other programs show of a link to the page."""

    title: str
    description: str = ""
    picture: Picture | None = None


def described(written: bytes, about: About) -> bytes:
    """The page with its title, description and picture as Open Graph has them (ogp.me), and with our icon."""
    lines = [f'<meta property="og:title" content="{html.escape(about.title)}">']
    lines += ['<meta property="og:type" content="website">', f'<link rel="icon" href="{UP}/assets/favicon.svg">']
    if words := html.escape(" ".join(about.description.split())[:DESCRIPTION]):
        lines += [f'<meta name="description" content="{words}">', f'<meta property="og:description" content="{words}">']
    if about.picture is not None:
        shown = about.picture
        lines += [
            f'<meta property="og:image" content="{shown.url}">',
            f'<meta property="og:image:width" content="{shown.width}">',
            f'<meta property="og:image:height" content="{shown.height}">',
            f'<meta property="og:image:alt" content="{html.escape(shown.alt)}">',
            '<meta name="twitter:card" content="summary_large_image">',
        ]
    head = "\n".join(lines)
    return written.replace(b"</title>\n", f"</title>\n{head}\n".encode(), 1)


def render(template: bytes, context: Mapping[str, Any]) -> bytes:
    """The page as UTF-8. A name that is missing in the context is an error, never an empty text."""
    return _compiled(template).render(context).encode()


def themed(template: bytes, theme: Literal["auto", "light", "dark"]) -> bytes:
    """The template with its dark colours for everybody, or for nobody; unchanged for `auto`."""
    if theme == "auto":
        return template
    dark = b"@media all" if theme == "dark" else b"@media not all"
    scheme = f'<meta name="color-scheme" content="{theme}">'.encode()
    return template.replace(DARK, dark).replace(b'<meta name="color-scheme" content="light dark">', scheme)


def policy(template: bytes, images: Iterable[str], *, live: bool = False, icon: bool = True) -> str:
    """The Content-Security-Policy of a page of this template that shows these image URLs.

    Its own styles and scripts are allowed by their hashes, and a page with a download link may download. A `live` page
    may send requests to the server it came from, so it has no sandbox.
    """
    text = template.decode()
    scripts = " ".join(map(_hash, SCRIPT.findall(text)))
    allowed = [
        "default-src 'none'",
        f"img-src {_sources(images, icon)}",
        f"style-src {_joined(map(_hash, STYLE.findall(text)))}",
        *([f"script-src {scripts}"] if scripts else []),
        *(["connect-src 'self'"] if live else []),
        "base-uri 'none'",
        "form-action 'self'" if live else "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    freed = ["allow-scripts"] * bool(scripts) + ["allow-downloads"] * bool(SAVES.search(text))
    return "; ".join(allowed if live else [*allowed, " ".join(["sandbox", *freed])])


def _sources(images: Iterable[str], icon: bool) -> str:
    """Ours is always among them, for the icon and wherever IMAGES delivers from: `policy_now` adds that."""
    origins = {_origin(url) for url in images}
    return _joined([SELF, *sorted(origins - {SELF})] if origins or icon else [])


def _joined(sources: Iterable[str]) -> str:
    return " ".join(sources) or "'none'"


@functools.lru_cache(maxsize=32)
def _compiled(template: bytes) -> jinja2.Template:
    return jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(template.decode())


def _hash(block: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}'"


def _origin(url: str) -> str:
    if IMAGE.fullmatch(url):
        return SELF
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    # A policy cannot name an IPv6 literal.
    return origin if ORIGIN.fullmatch(origin) else SELF
