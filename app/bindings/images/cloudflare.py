"""IMAGES on Cloudflare Images, over its HTTP API. The ids are ours, so a repeated upload is still one image."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from adapters.http_failures import request_id_of, retry_after
from app.bindings.images import check_image_id
from app.settings import SettingError
from tools.errors import PicassoError, Unavailable, VendorFailed
from tools.fetch import tls_context
from tools.publishing.addresses import CLOUDFLARE, image_path

log = logging.getLogger("picasso.images")

API = "https://api.cloudflare.com/client/v4"
CONNECT_SECONDS, CALL_SECONDS = 3.0, 12.0
"""Three tries of an upload, and the reading and encoding before them, fit into the minute of the delivering step."""
ADDRESS = re.compile(r"cloudflare://([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})")
SUFFIXES = {"image/webp": "webp", "image/png": "png", "image/jpeg": "jpg"}
PUBLIC = "/public"

EXISTS = 5409
MISCONFIGURED = frozenset({5403, 6003, 6103, 6111, 7000, 7003, 9103, 9106, 9109, 10000, 10001})
"""Cloudflare's codes for a token, an account or a permission that is not right, under whatever status."""
REJECTED = frozenset({400, 413, 415, 422})


class Problem(msgspec.Struct, frozen=True):
    """One of the errors in an answer."""

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


class CloudflareImages:
    """The images of one account. `http` carries the account's address and the token.

    A wrong token shows with the first upload: a start does not ask, because the server is useful while Cloudflare is
    down."""

    def __init__(self, http: httpx.AsyncClient, account_hash: str, seconds: float = CALL_SECONDS) -> None:
        self._http, self._hash, self._seconds = http, account_hash, seconds
        self._logged: str | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, address: str, vendor: Mapping[str, str]) -> AsyncIterator["CloudflareImages"]:
        """The account at `cloudflare://ACCOUNT_ID/ACCOUNT_HASH`; `vendor` has the token by its environment name.

        Fails: SettingError for a bad address or a missing token.
        """
        if not (found := ADDRESS.fullmatch(address)):
            raise SettingError("IMAGES must be file:///PATH or cloudflare://ACCOUNT_ID/ACCOUNT_HASH")
        if (token := vendor.get("CLOUDFLARE_API_TOKEN")) is None:
            raise SettingError("CLOUDFLARE_API_TOKEN must be set for IMAGES=cloudflare://…")
        async with httpx.AsyncClient(
            base_url=f"{vendor.get('CLOUDFLARE_BASE_URL', API).rstrip('/')}/accounts/{found[1]}/images",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            verify=tls_context(),
            trust_env=False,
            follow_redirects=False,
        ) as http:
            yield cls(http, found[2])

    async def put(self, image_id: str, data: bytes, *, mime: str) -> str:
        """Upload the image and return its path, or its URL where that is not the account's usual one.

        Effect: the image exists under the id; a repetition changes nothing.
        Fails: Unavailable · VendorFailed (`images_rejected`) when this image cannot be stored · Invalid.
        """
        file = (f"{check_image_id(image_id)}.{SUFFIXES[mime]}", data, mime)
        answer = await self._send("POST", "/v1", data={"id": image_id}, files={"file": file})
        # The id is taken: by us, since nobody else makes such ids. Cloudflare says it in more than one way.
        exists = (
            answer.status_code == 409
            or f"ERROR {EXISTS}" in answer.text
            or any(problem.code == EXISTS for problem in _decode(answer).errors)
        )
        url = await self._public_url(image_id) if exists else self._read(answer, image_id)
        if url != self._usual_url(image_id) and url != await self._public_url(image_id):
            # A garbled address would be published for good.
            raise Unavailable("Cloudflare Images gave two addresses for one image", code="images_unavailable")
        return image_path(image_id) if url == self._usual_url(image_id) else url

    async def delete(self, image_id: str) -> None:
        """Remove the image, if there is one. Fails: Unavailable · VendorFailed · Invalid."""
        answer = await self._send("DELETE", f"/v1/{check_image_id(image_id)}")
        if answer.status_code != 404 and not (answer.is_success and _decode(answer).success):
            raise self._failure(answer)

    async def ping(self) -> None:
        """Fails: Unavailable when Cloudflare does not answer or refuses the token."""
        answer = await self._send("GET", "/v1/stats")
        if not answer.is_success:
            raise self._failure(answer)

    async def _public_url(self, image_id: str) -> str:
        return self._read(await self._send("GET", f"/v1/{image_id}"), image_id)

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._http.request(method, path, **content)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unavailable("Cloudflare Images did not answer", code="images_unavailable") from error

    def _read(self, answer: httpx.Response, image_id: str) -> str:
        """The public address in an answer about the image."""
        decoded = _decode(answer)
        if not answer.is_success or not decoded.success or decoded.result is None or decoded.result.id != image_id:
            raise self._failure(answer)
        self._logged = None
        urls = [url for url in decoded.result.variants if _is_url(url)]
        return next((url for url in urls if url.endswith(PUBLIC)), urls[0] if urls else self._usual_url(image_id))

    def _usual_url(self, image_id: str) -> str:
        return f"{CLOUDFLARE}/{self._hash}/{image_id}{PUBLIC}"

    def _failure(self, answer: httpx.Response) -> PicassoError:
        """The error for an answer that reports a failure; one that an operator must mend is logged, once until it
        changes."""
        status, codes = answer.status_code, [problem.code for problem in _decode(answer).errors]
        signals: dict[str, Any] = {
            "provider_code": str(codes[0]) if codes else None,
            "provider_status": status,
            "request_id": request_id_of(answer.headers, "cf-ray"),
        }
        if status in (401, 403) or MISCONFIGURED.intersection(codes):
            # Unavailable, not a failure of the image: it is delivered once the token is right.
            message = "Cloudflare Images does not accept our token for this account"
            refused = Unavailable(message, code="images_refused", failure="invalid", **signals)
            if refused.provider_code != self._logged:
                self._logged = refused.provider_code
                log.error("IMAGES: %s (%s, status %s)", message, refused.provider_code, status)
            return refused
        if status in REJECTED:
            message = "Cloudflare Images did not take the image"
            return VendorFailed(message, code="images_rejected", failure="invalid", **signals)
        return Unavailable(
            "Cloudflare Images did not take the image now",
            code="images_unavailable",
            failure="rate" if status == 429 else "outage",
            retry_after=retry_after(answer.headers),
            **signals,
        )


def _is_url(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _decode(answer: httpx.Response) -> Answer:
    """The envelope; an empty one where the body is something else."""
    try:
        return msgspec.json.decode(answer.content, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING
