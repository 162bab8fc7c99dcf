"""Cloudflare Images: stores each upload under the caller's id, once, within the limits of the real service."""

import io
import json
from typing import Any, Literal

from PIL import Image, UnidentifiedImageError

from tests.support.internet import Answer, Received, Reply

ACCOUNT, HASH, TOKEN = "acc0unt", "h4sh", "images-token-of-the-tests"
MAX_BYTES, MAX_SIDE, MAX_PIXELS = 10_000_000, 12_000, 100_000_000
FAULTS = {
    "refuse": (400, 5400, "Bad request"),
    "rate": (429, 971, "Please wait and consider throttling your request speed"),
    "quota": (403, 5403, "The given account is not valid or is not authorized to access this service"),
    "error": (500, 5500, "Internal server error"),
}


class Images:
    """`taken` is how a second upload of an id is refused. `delivery` is the base of the delivery URLs in answers."""

    name = "images"
    prefix = f"/cloudflare/client/v4/accounts/{ACCOUNT}/images"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything that is stored."""
        self.stored: dict[str, bytes] = {}
        self.taken: Literal["code", "text", "status"] = "code"
        self.delivery = "https://imagedelivery.net"
        self.variants = ["avatar", "public"]

    def reply(self, call: Received, answer: Answer) -> Reply:
        if answer.fault in FAULTS:
            return problem(*FAULTS[answer.fault])
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(403, 10000, "Authentication error")
        if answer.fault == "garbage":
            return Reply(b"\x00\x01 not an envelope")
        done = self._done(call)
        return envelope(None) if answer.fault == "empty" else done

    def _done(self, call: Received) -> Reply:
        image_id = call.path.removeprefix("/v1").removeprefix("/")
        if call.method == "POST" and not image_id:
            return self._upload(call)
        if (call.method, image_id) == ("GET", "stats"):
            return envelope({"count": {"current": len(self.stored), "allowed": 100_000}})
        if image_id not in self.stored:
            return problem(404, 5404, "Image not found")
        if call.method == "DELETE":
            del self.stored[image_id]
            return envelope({})
        return envelope(self._about(image_id))

    def _upload(self, call: Received) -> Reply:
        image_id, data = call.body["id"], next(part.data for part in call.parts if part.name == "file")
        if image_id in self.stored:
            return self._refusal()
        try:
            width, height = Image.open(io.BytesIO(data)).size
        except UnidentifiedImageError:
            return problem(415, 5455, "Unsupported image format")
        if len(data) > MAX_BYTES or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            return problem(413, 5413, "Maximum image size is reached")
        self.stored[image_id] = call.sent = data
        return envelope(self._about(image_id))

    def _about(self, image_id: str) -> dict[str, Any]:
        return {
            "id": image_id,
            "filename": "image.webp",
            "uploaded": "2026-11-20T10:00:00.000Z",
            "requireSignedURLs": False,
            "variants": [f"{self.delivery}/{HASH}/{image_id}/{variant}" for variant in self.variants],
        }

    def _refusal(self) -> Reply:
        match self.taken:
            case "code":
                return problem(400, 5409, "Resource already exists")
            case "text":
                return Reply(b"ERROR 5409: Resource already exists", 400, mime="text/plain")
            case "status":
                return Reply(b"{}", 409)


def envelope(result: dict[str, Any] | None) -> Reply:
    body: dict[str, Any] = {"result": result, "result_info": None, "success": True, "errors": [], "messages": []}
    return Reply(json.dumps(body).encode())


def problem(status: int, code: int, message: str) -> Reply:
    errors = [{"code": code, "message": message}]
    body = {"result": None, "success": False, "errors": errors, "messages": []}
    return Reply(json.dumps(body).encode(), status)


vendor = Images()
