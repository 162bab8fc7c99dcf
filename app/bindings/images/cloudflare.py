"""IMAGES on Cloudflare Images, over its HTTP API. The ids are ours, so an upload may be repeated: it is one image."""

import asyncio
import logging
import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from adapters.http_failures import request_id_of, retry_after
from app.settings import SettingError
from tools.errors import Invalid, PicassoError, Unavailable, VendorFailed

log = logging.getLogger("picasso.images")

API = "https://api.cloudflare.com/client/v4"
DELIVERY = "https://imagedelivery.net"
CONNECT_SECONDS, CALL_SECONDS = 3.0, 12.0
"""Three tries of an upload, and reading and encoding before them, fit into the minute of the step that delivers."""
ADDRESS = re.compile(r"cloudflare://([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})")
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
SUFFIXES = {"image/webp": "webp", "image/png": "png", "image/jpeg": "jpg"}
PUBLIC = "/public"

EXISTS = 5409
MISCONFIGURED = frozenset({5403, 6003, 6103, 6111, 7000, 7003, 9103, 9106, 9109, 10000, 10001})
"""Cloudflare's codes for a token, an account or a permission that is not right, under whatever status."""
REJECTED = frozenset({400, 413, 415, 422})


class Problem(msgspec.Struct, frozen=True):
    code: int = 0


class Hosted(msgspec.Struct, frozen=True):
    """An image that Cloudflare has, and the addresses it is delivered under."""

    id: str = ""
    variants: list[str] = []


class Answer(msgspec.Struct, frozen=True):
    """Cloudflare's envelope, as far as it is read."""

    success: bool = False
    result: Hosted | None = None
    errors: list[Problem] = []


NOTHING = Answer()


def read_address(address: str) -> tuple[str, str]:
    """Account id and account hash. Fails: SettingError."""
    if not (found := ADDRESS.fullmatch(address)):
        raise SettingError("IMAGES must be file:///PATH or cloudflare://ACCOUNT_ID/ACCOUNT_HASH")
    return found[1], found[2]


class CloudflareImages:
    """`http` carries the account's address and the token. What is wrong with these shows with the first upload: a start
    does not ask, because a server is of use while Cloudflare is not."""

    def __init__(self, http: httpx.AsyncClient, account_hash: str, seconds: float = CALL_SECONDS) -> None:
        self._http, self._hash, self._seconds = http, account_hash, seconds
        self._told: str | None = None

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        file = (f"{_checked(image_id)}.{SUFFIXES[mime]}", data, mime)
        answer = await self._send("POST", "/v1", data={"id": image_id}, files={"file": file})
        url = await self._address(image_id) if _exists(answer) else self._read(answer, image_id)
        if url != self._usual(image_id) and url != await self._address(image_id):
            # A garbled address would be published for good.
            raise Unavailable("Cloudflare Images gave two addresses for one image", code="images_unavailable")
        return url

    async def delete(self, image_id: str) -> None:
        answer = await self._send("DELETE", f"/v1/{_checked(image_id)}")
        if answer.status_code != 404 and not (answer.is_success and _decoded(answer).success):
            raise self._noted(_trouble(answer))

    async def ping(self) -> None:
        answer = await self._send("GET", "/v1/stats")
        if not answer.is_success:
            raise self._noted(_trouble(answer))

    async def _address(self, image_id: str) -> str:
        return self._read(await self._send("GET", f"/v1/{image_id}"), image_id)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._http.request(method, path, **content)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable("Cloudflare Images did not answer", code="images_unavailable") from error

    def _read(self, answer: httpx.Response, image_id: str) -> str:
        """The public address in an answer about the image."""
        told = _decoded(answer)
        if not answer.is_success or not told.success or told.result is None or told.result.id != image_id:
            raise self._noted(_trouble(answer))
        self._told = None
        urls = [url for url in told.result.variants if _is_address(url)]
        return next((url for url in urls if url.endswith(PUBLIC)), urls[0] if urls else self._usual(image_id))

    def _usual(self, image_id: str) -> str:
        return f"{DELIVERY}/{self._hash}/{image_id}{PUBLIC}"

    def _noted(self, error: PicassoError) -> PicassoError:
        """The same; what an operator must mend is logged, once until it changes."""
        if error.code == "images_refused" and isinstance(error, Unavailable) and error.provider_code != self._told:
            self._told = error.provider_code
            log.error("IMAGES: %s (%s, status %s)", error.message, error.provider_code, error.provider_status)
        return error


def _checked(image_id: str) -> str:
    if not ID.fullmatch(image_id):
        raise Invalid("not the id of an image", code="bad_image_id", status=400)
    return image_id


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _exists(answer: httpx.Response) -> bool:
    """Whether the id is taken: by us, since nobody else makes such ids. Cloudflare says it in more than one way."""
    is_told = any(problem.code == EXISTS for problem in _decoded(answer).errors)
    return is_told or answer.status_code == 409 or f"ERROR {EXISTS}" in answer.text


def _decoded(answer: httpx.Response) -> Answer:
    """Nothing where it is not Cloudflare's envelope."""
    try:
        return msgspec.json.decode(answer.content, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING


def _trouble(answer: httpx.Response) -> PicassoError:
    """What an answer that brought no image means to us."""
    status, codes = answer.status_code, [problem.code for problem in _decoded(answer).errors]
    signals: dict[str, Any] = {
        "provider_code": str(codes[0]) if codes else None,
        "provider_status": status,
        "request_id": request_id_of(answer.headers, "cf-ray"),
    }
    if status in (401, 403) or MISCONFIGURED.intersection(codes):
        # Not the image's end: it is delivered once the token is right.
        message = "Cloudflare Images does not accept our token for this account"
        return Unavailable(message, code="images_refused", failure="invalid", **signals)
    if status in REJECTED:
        message = "Cloudflare Images did not take the image"
        return VendorFailed(message, code="images_rejected", failure="invalid", **signals)
    failure, wait = ("rate" if status == 429 else "outage"), retry_after(answer.headers)
    return Unavailable(
        "Cloudflare Images did not take the image now",
        code="images_unavailable",
        failure=failure,
        retry_after=wait,
        **signals,
    )
