"""Addresses of our own: rows and pages keep them as paths, so that an installation can move; answers tell them whole.

A path begins at the root of this server, whatever PUBLIC_URL is and wherever IMAGES delivers from. A page names it from
where its main link is: `../../images/…`. Versions before this wrote whole addresses, in pages and events for good: ids
and slugs are random, so theirs are known at any host.
"""

import re
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

SELF = "'self'"
UP = "../.."
"""From a published page to the root."""
IMAGE = re.compile(r"/images/([A-Za-z0-9_-]{1,128})/public")
EARLIER_IMAGE = re.compile(r"https?://[^\s\"'<>\\]{1,300}?/images/([0-9a-f]{32})/[a-z0-9=,-]{1,64}")
IN_EVENT = re.compile(
    r'(?:(?<="url":")|(?<=Url":"))(?:https?://[^"\\]{1,300}?(?=/images/[0-9a-f]{32}/|/public/artifact/[\w-]{32}"))?'
    r'(/images/[A-Za-z0-9_-]{1,128}/public|/public/artifact/[A-Za-z0-9_-]{1,64})(?=")'
)
IN_TEXT = re.compile(
    r"https?://[^\s\"'<>\\]{1,300}?(/images/[0-9a-f]{32}/public|/public/artifact/[A-Za-z0-9_-]{32})(?![A-Za-z0-9_-])"
)
IN_PAGE = re.compile(
    rb"(?:\.\./\.\.|https?://[^\s\"'<>\\]{1,300}?(?=/images/[0-9a-f]{32}/|/public/artifact/[A-Za-z0-9_-]{32}))"
    rb"/(?:(?P<asset>assets/[a-z.-]{1,64})|images/(?P<image>[A-Za-z0-9_-]{1,128})/(?P<variant>[a-z0-9=,-]{1,64})"
    rb"|public/artifact/(?P<slug>[A-Za-z0-9_-]{1,64})(?P<file>/files/[A-Za-z0-9._-]{1,255})?)"
)
IMAGE_SOURCES = re.compile(r"img-src ([^;]*)")
CLOUDFLARE = "https://imagedelivery.net"


class Site(Protocol):
    """Where this installation is; the settings are one."""

    @property
    def public_url(self) -> str:
        """The URL under which clients reach this server, without a slash at its end."""
        ...

    @property
    def delivery_url(self) -> str | None:
        """The URL below which another host delivers the images of IMAGES; None where this server does."""
        ...


class EmbeddingSite(Site, Protocol):
    """The same, with who may frame its public pages."""

    @property
    def embed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may show public pages in a frame."""
        ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """From where a page or file is read: `slug` is the artifact's own, `link` the one it is read by, `version` an
    earlier one that the address names, `is_file` for a file beside the page."""

    slug: str
    link: str
    version: int | None = None
    is_file: bool = False

    @property
    def page(self) -> str:
        """The path of the page below the root."""
        earlier = "" if self.version is None else f"/versions/{self.version}"
        return f"public/artifact/{self.link}{earlier}"

    @property
    def root(self) -> str:
        """The way from the address of what is read to the root."""
        return "/".join([UP, *([UP] if self.version is not None else []), *([UP] if self.is_file else [])])


def image_path(image_id: str) -> str:
    """The path of a delivery image, as rows keep it."""
    return f"/images/{image_id}/public"


def linked(url: str) -> str:
    """A path of ours as pages and their files name it; any other address is unchanged."""
    return f"{UP}{url}" if url.startswith("/") else url


def whole(site: Site, path: str) -> str:
    """The address of a path of ours as clients are told it; any other address is unchanged."""
    if site.delivery_url is not None and (image := IMAGE.fullmatch(path)):
        return f"{site.delivery_url}/{image[1]}/public"
    return f"{site.public_url}{path}" if path.startswith("/") else path


def kept(site: Site, url: str) -> str:
    """The path of a delivery image of ours that is named by its present or an earlier address; any other address is
    unchanged. Whether there is such an image is another question."""
    if site.delivery_url is not None and url.startswith(f"{site.delivery_url}/"):
        return image_path(url.removeprefix(f"{site.delivery_url}/").partition("/")[0])
    found = IMAGE.fullmatch(url.removeprefix(site.public_url)) or EARLIER_IMAGE.fullmatch(url)
    return image_path(found[1]) if found else url


def whole_in_event(site: Site, data: str) -> str:
    """The data of an event as JSON text, its addresses of ours as clients are told them."""
    return IN_EVENT.sub(lambda found: whole(site, found[1]), data) if 'rl":"' in data else data


def whole_in_text(site: Site, text: str) -> str:
    """What somebody was told earlier, with the present addresses in place of earlier ones."""
    return IN_TEXT.sub(lambda found: whole(site, found[1]), text)


def relinked(site: Site, data: bytes, place: Place, *, is_page: bool) -> bytes:
    """A page or a file beside it, with its links of ours as they lead from where it is read; those that programs read,
    in data and in a page's `<meta>`, are whole."""

    def link(found: re.Match[bytes]) -> bytes:
        # Others' words have no quotation marks in pages, and escaped ones in JSON.
        before = data[max(0, found.start() - 9) : found.start()]
        if not before.endswith((b'"', b"w, ")) or (found["slug"] and found["slug"].decode() != place.slug):
            return found[0]
        root = place.root if is_page and before != b'content="' else site.public_url
        if found["asset"]:
            return f"{root}/{found['asset'].decode()}".encode()
        if found["slug"]:
            return f"{root}/{place.page}{(found['file'] or b'').decode()}".encode()
        if site.delivery_url is not None:
            return f"{site.delivery_url}/{found['image'].decode()}/public".encode()
        return f"{root}/images/{found['image'].decode()}/{found['variant'].decode()}".encode()

    return IN_PAGE.sub(link, data)


def policy_now(settings: EmbeddingSite, policy: str) -> str:
    """The Content-Security-Policy of a page with the places that images come from, and who may frame it, now."""
    if settings.embed_origins:
        allowed = f"frame-ancestors 'self' {' '.join(settings.embed_origins)}"
        policy = policy.replace("frame-ancestors 'none'", allowed).replace("frame-ancestors 'self';", f"{allowed};")
    found = IMAGE_SOURCES.search(policy)
    if found is None or found[1] == "'none'":
        return policy
    named = set(found[1].split())
    # A policy of an earlier version names where this server was when the page was made.
    elsewhere = named - {SELF} if SELF in named else {source for source in named if source == CLOUDFLARE}
    if settings.delivery_url is not None:
        parts = urlsplit(settings.delivery_url)
        elsewhere |= {f"{parts.scheme}://{parts.netloc}"}
    return policy.replace(found[0], f"img-src {' '.join([SELF, *sorted(elsewhere)])}")
