"""What the three vendors and their chat models have in common, over real sockets: one table for all of them."""

import contextlib
import dataclasses
import gzip
import json
import typing
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.answer_images import read_body
from adapters.http_failures import Cause, TooLong, doubting, failure, is_vendors_own, lost, plain_id
from adapters.provider import ImageOp
from app.bindings.ai.response_limits import Bounding
from tests.support.chat_vendors import MODELS, VENDORS, chat_env
from tests.support.image_calls import call_provider
from tests.support.internet import Answer, Received, Reply, Vendor, Wire, vendors
from tools.env import Env
from tools.errors import Refused, Unavailable, Uncertain, VendorError, VendorFailed
from tools.fetch import tls_context

PAINTERS = ("openai", "gemini", "workers")
SAID = {"openai": "openai", "gemini": "gemini", "workers": "workers", **{f"{m} chat": VENDORS[m] for m in MODELS}}
"""Who is called, and who of `tests/support/vendors/` plays it."""
each = pytest.mark.parametrize("called", SAID)


LIMIT = 70_000
"""Of an answer, in bytes."""


@dataclasses.dataclass
class Says:
    """One of the vendors, with this one answer to every call."""

    name: str
    prefix: str
    answer: Reply

    def reply(self, call: Received, answer: Answer) -> Reply:
        return self.answer


async def deaf(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


async def call(env: Env, called: str) -> None:
    if called in PAINTERS:
        await call_provider(called, ImageOp(kind="generate", prompt="a fox"), env, deaf)
    else:
        await env.AI.chat_model(MODELS[called.removesuffix(" chat")]).ainvoke("Which light?")


@contextlib.asynccontextmanager
async def reached(
    home: Path, called: str, answer: Reply, most: int | None = None, /, **environ: str
) -> AsyncIterator[Env]:
    """An `Env` whose vendors all answer so; the caller makes one call."""
    played = vendors()[SAID[called]]
    others: dict[str, Vendor] = {played.name: Says(played.name, played.prefix, answer)}
    async with Wire(_vendors=others) as wire:
        base = {"GOOGLE_GEMINI_BASE_URL": f"{wire.url}{played.prefix}"} if "gemini" in called else {}
        async with chat_env(home, wire, "", most, **base, **environ) as env:
            yield env
        (made,) = wire.calls
        # A vendor may use any encoding that we offered; an answer that we cannot decode is paid and lost.
        assert {coding.strip() for coding in made.headers["accept-encoding"].split(",")} == {"gzip", "deflate"}


async def ended(home: Path, called: str, answer: Reply, most: int | None = None, /, **environ: str) -> VendorError:
    async with reached(home, called, answer, most, **environ) as env:
        with pytest.raises(VendorError) as error:
            await call(env, called)
    return error.value


@each
@pytest.mark.parametrize("status", [408, 499, 502, 504, 520, 522, 524])
async def test_a_vendor_that_gave_up_waiting_may_have_made_something(tmp_path: Path, called: str, status: int) -> None:
    """Such an answer does not state that the work is unbilled, so the call is never repeated automatically."""
    error = await ended(tmp_path, called, Reply(b'{"error": {"message": "timeout"}}', status))
    assert (type(error), error.code, error.provider_status) == (Uncertain, "deadline", status)


@each
@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (302, VendorFailed, "invalid"),
        (400, VendorFailed, "invalid"),
        (401, VendorFailed, "invalid"),
        (402, VendorFailed, "quota"),
        (403, VendorFailed, "invalid"),
        (429, Unavailable, "rate"),
        (503, Unavailable, "outage"),
        *((status, Uncertain, "outage") for status in (501, 505, 507, 521, 525, 526, 599)),
    ],
)
async def test_a_status_means_the_same_whoever_sends_it(
    tmp_path: Path, called: str, status: int, kind: type[VendorError], cause: str
) -> None:
    """One mapping for all vendors: where a vendor's own code adds nothing, the status decides."""
    error = await ended(tmp_path, called, Reply(b"{}", status, {"retry-after": "7"}))
    assert (type(error), error.failure, error.provider_status) == (kind, cause, status)
    assert not isinstance(error, Unavailable) or error.retry_after == 7


@each
@pytest.mark.parametrize("status", [500, 503, 529])
async def test_what_stands_in_front_of_a_vendor_may_have_bought(tmp_path: Path, called: str, status: int) -> None:
    """A proxy tries again by itself: behind a base URL of the user's own an error 5xx is never repeated."""
    error = await ended(tmp_path, called, Reply(b"{}", status), VENDOR_5XX="uncertain")
    assert (type(error), error.code, error.provider_status) == (Uncertain, "proxy_failed", status)


@pytest.mark.parametrize(
    ("url", "domain", "own"),
    [
        ("https://api.openai.com/v1", "api.openai.com", True),
        ("https://eu.api.openai.com/v1", "api.openai.com", True),
        ("https://api.openai.com.example/v1", "api.openai.com", False),
        ("https://notapi.openai.com@proxy.example/v1", "api.openai.com", False),
        ("http://localhost:4000", "api.openai.com", False),
    ],
)
def test_a_vendors_own_host_is_told_from_others(url: str, domain: str, own: bool) -> None:
    """By its name, whole, and not by what an address contains."""
    assert is_vendors_own(url, domain) == own


def test_a_vendors_code_outranks_its_status_but_no_doubt() -> None:
    """A 429 may be a spent quota; but after a timeout something may have been made, whatever the code."""
    assert failure("Acme", 429, "quota").failure == "quota"
    assert isinstance(failure("Acme", 400, "refused"), Refused)
    assert isinstance(failure("Acme", 408, "outage"), Uncertain)


@pytest.mark.parametrize("named", [None, *typing.get_args(Cause)])
@pytest.mark.parametrize("status", [408, 499, 501, 502, 504, 505, 507, 520, 521, 522, 524, 525, 526, 599])
def test_no_code_in_a_body_settles_what_the_status_leaves_in_doubt(status: int, named: Cause | None) -> None:
    """Whatever failed on the way, or stopped waiting, does not know what the vendor did: it is never asked again."""
    error = failure("Acme", status, named)
    assert (type(error), error.provider_status) == (Uncertain, status)


@pytest.mark.parametrize("named", [None, "refused", "quota", "rate", "outage", "key", "request", "empty"])
@pytest.mark.parametrize("status", [500, 501, 503, 507, 529, 599])
def test_a_5xx_of_a_server_of_ones_own_is_in_doubt_whatever_it_names(status: int, named: Cause | None) -> None:
    """A gateway's rate limit, spent quota or refusal may be the last of several calls that it made."""
    with pytest.raises(Uncertain) as error, doubting(trusted=False):
        raise failure("Acme", status, named, provider_code="said", request_id="i")
    assert (error.value.provider_status, error.value.provider_code, error.value.request_id) == (status, "said", "i")


@pytest.mark.parametrize(
    ("status", "named", "trusted", "kind", "cause"),
    [
        (400, "refused", False, Refused, "refused"),
        (429, None, False, Unavailable, "rate"),
        (400, "rate", False, Unavailable, "rate"),
        (429, "quota", False, VendorFailed, "quota"),
        (500, "rate", True, Unavailable, "rate"),
        (500, "refused", True, Refused, "refused"),
        (500, None, True, Unavailable, "outage"),
        (503, None, True, Unavailable, "outage"),
        (529, None, True, Unavailable, "outage"),
    ],
)
def test_an_error_4xx_or_of_the_vendor_itself_is_taken_at_its_word(
    status: int, named: Cause | None, trusted: bool, kind: type[VendorError], cause: str
) -> None:
    """Only an error 5xx of another server is doubted."""
    with pytest.raises(VendorError) as error, doubting(trusted):
        raise failure("Acme", status, named)
    assert (type(error.value), error.value.failure) == (kind, cause)


def test_a_connection_that_was_never_made_is_in_no_doubt() -> None:
    """No server answered, so none has bought."""
    with pytest.raises(Unavailable), doubting(trusted=False):
        raise lost(httpx.ConnectError("refused"), "Acme")


@each
@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_is_read_no_further_than_its_limit(tmp_path: Path, called: str, packed: bool) -> None:
    """However small its encoded form, and in every reader (70 KB here)."""
    body = json.dumps({"nothing": " " * 100_000}).encode()
    headers = {"content-encoding": "gzip"} if packed else {}
    answer = Reply(gzip.compress(body) if packed else body, 200, headers)
    error = await ended(tmp_path, called, answer, LIMIT)
    assert (type(error), error.failure) == (VendorFailed, "invalid")
    assert "longer than an answer may be" in error.message


async def test_a_chat_that_is_streamed_without_end_is_read_no_further(tmp_path: Path) -> None:
    """The limit also applies to a reader that streams the words as they arrive."""
    line = f"data: {json.dumps({'choices': [], 'x': ' ' * 1000})}\n\n".encode()
    async with reached(tmp_path, "openai chat", Reply(line * 100, mime="text/event-stream"), LIMIT) as env:
        with pytest.raises(VendorFailed, match="longer than"):
            async for _ in env.AI.chat_model(MODELS["openai"]).astream("Which light?"):
                pass


@each
async def test_an_error_is_that_error_however_long_it_is(tmp_path: Path, called: str) -> None:
    """What is beyond the limit of an error is not read, and does not hide it."""
    said = json.dumps({"error": {"code": 500, "message": " " * 100_000}}).encode()
    error = await ended(tmp_path, called, Reply(said, 500), LIMIT)
    assert (type(error), error.failure, error.provider_status) == (Unavailable, "outage", 500)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
async def test_an_answer_is_unpacked_whole(coding: str, pack: Callable[[bytes], bytes]) -> None:
    """Up to its limit every byte arrives; one more is too long."""
    plain = bytes(range(256)) * 4096
    vendor: dict[str, Vendor] = {"x": Says("x", "/x", Reply(pack(plain), headers={"content-encoding": coding}))}
    async with Wire(_vendors=vendor) as wire:
        async with httpx.AsyncClient(verify=tls_context(), event_hooks={"response": [Bounding(len(plain))]}) as client:
            assert (await client.get(f"{wire.url}/x")).content == plain
        async with httpx.AsyncClient(
            verify=tls_context(), event_hooks={"response": [Bounding(len(plain) - 1)]}
        ) as client:
            with pytest.raises(TooLong):
                await client.get(f"{wire.url}/x")


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


async def test_no_byte_is_lost_over_a_false_content_encoding() -> None:
    """What is not packed as it says is passed on as it came, and a wrong checksum takes nothing away."""
    plain, packed = bytes(range(256)) * 999, gzip.compress(b"two" * 9)
    wrong_sum = gzip.compress(plain)[:-8] + bytes(8)
    said = [
        ("gzip", plain, plain),
        ("deflate", b"{}" + plain, b"{}" + plain),
        ("gzip, br", b"a", b"a"),
        ("br", plain, plain),
        ("zstd", packed, packed),
        ("x-odd", b"packed", b"packed"),
        ("gzip, gzip", gzip.compress(packed), packed),
        ("deflate", packed, b"two" * 9),
        ("deflate", bare_deflate(plain), plain),
        ("gzip", packed + gzip.compress(plain), b"two" * 9 + plain),
        ("gzip", packed + b"padding", b"two" * 9),
        ("gzip", packed[:-8], b"two" * 9),
        ("gzip", b"\x1f\x8bno", b"\x1f\x8bno"),
        ("gzip", wrong_sum, plain),
    ]
    hooks: dict[str, list[Callable[..., Any]]] = {"response": [Bounding(1 << 20)]}
    for coding, sent, wanted in said:
        vendor: dict[str, Vendor] = {"x": Says("x", "/x", Reply(sent, headers={"content-encoding": coding}))}
        async with (
            Wire(_vendors=vendor) as wire,
            httpx.AsyncClient(verify=tls_context(), event_hooks=hooks) as client,
            client.stream("GET", f"{wire.url}/x") as answer,
        ):
            body = await read_body(answer)
        assert (body.data, body.error is None) == (wanted, sent is not wrong_sum), (coding, sent[:20])


@pytest.mark.parametrize("called", PAINTERS)
async def test_a_request_id_is_short_and_can_be_printed(tmp_path: Path, called: str) -> None:
    """The id is stored with the call and shown, so whatever a vendor sends in its place is cut."""
    header = "cf-ray" if called == "workers" else "x-request-id"
    error = await ended(tmp_path, called, Reply(b"{}", 500, {header: "i" * 9000}))
    assert error.request_id == "i" * 200


def test_what_is_no_id_is_none() -> None:
    """Control characters go; a number, or nothing that can be printed, is none."""
    assert plain_id("a\x1b[31mb\u0000") == "a[31mb"
    assert [plain_id(said) for said in (7, None, "", "\n", [1])] == [None] * 5
