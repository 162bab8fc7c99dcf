"""An image that was paid for is taken out of an answer of whatever form."""

import base64
import itertools
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.answer_images import UNKNOWN, Found
from adapters.gemini import answer as gemini
from adapters.openai import answer as openai
from adapters.workers import answer as workers
from tests.support.answer_forms import Form, forms
from tests.support.files.images import encoded, textured
from tests.support.internet import picture
from tools.errors import Refused, VendorError, VendorFailed

URL = "http://vendor.example:8080/v1/"


class Pieces(httpx.AsyncByteStream):
    """A body that arrives in pieces of some size."""

    def __init__(self, body: bytes, size: int) -> None:
        self._body, self._size = body, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), self._size):
            yield self._body[at : at + self._size]


async def unheard(fraction: float, stage: str = "generate", preview_bytes: bytes | None = None) -> None: ...


async def read(form: Form, size: int) -> Found | None:
    """What the vendor's reader makes of the answer."""
    headers = {"content-type": form.mime}
    match form.vendor:
        case "openai":
            response = httpx.Response(200, headers=headers, stream=Pieces(form.body, size))
            return (await openai.read_answer(response, URL, openai.Known(), unheard)).image
        case "gemini":
            return gemini.picture_of(gemini.read_answer(form.body, headers), URL).image
        case _:
            return workers.image_of(workers.Answer(200, headers, form.body), URL)


async def test_every_form_of_an_answer_gives_its_image(rounds: int) -> None:
    """Whatever its shape, encoding, type and framing, and however it is cut into pieces, the image comes out as it was
    put in: more than 2,000 forms, and all of them with `--rounds 10`."""
    lost, sizes, count = [], itertools.cycle((1 << 20, 977, 64, 13)), 0
    for count, form in enumerate(itertools.islice(forms(), 2100 * rounds), 1):  # noqa: B007 (read afterwards)
        try:
            found = await read(form, next(sizes))
        except VendorError:
            found = None
        if found is None or found.addresses or found.mime == UNKNOWN or found.data != form.image:
            lost.append(form.name)
    assert lost == [] and count > 2000


def test_an_image_in_the_middle_of_other_bytes_is_taken_without_them() -> None:
    """As in an archive that is not packed, or behind the marks of another protocol."""
    for image in (picture(1), encoded(textured(24, 16), "JPEG"), encoded(textured(24, 16), "WEBP")):
        for before, after in (
            (b"\0\0\1\7", b""),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 512),
            (b"\x81\xa5image\xc6", b"\xff"),
        ):
            found = openai.read_whole(before + image + after, URL).image
            assert found is not None and found.data == image, (before, image[:4])


def event(**said: object) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(said).encode() + b"\n\n"


MADE = base64.b64encode(picture(1)).decode()
PREVIEW = event(type="image_generation.partial_image", b64_json=MADE)
BOUGHT = event(type="image_generation.completed", b64_json=MADE)


def fault(code: str) -> bytes:
    """An event with an error."""
    return event(type="error", error={"code": code, "message": "it broke"})


async def from_openai(body: bytes) -> Found | None:
    return await read(Form("openai", "", "text/event-stream", body, b""), 977)


@pytest.mark.parametrize(
    ("code", "kind", "failure"),
    [
        ("server_error", VendorFailed, "empty"),
        ("server_is_overloaded", VendorFailed, "empty"),
        ("rate_limit_exceeded", VendorFailed, "empty"),
        ("unheard_of", VendorFailed, "empty"),
        ("insufficient_quota", VendorFailed, "quota"),
        ("moderation_blocked", Refused, "refused"),
    ],
)
@pytest.mark.parametrize("before", [b"", PREVIEW])
@pytest.mark.parametrize("after", [b"", b": end\n\n", b"data: [DONE]\n\n"])
async def test_an_error_inside_a_success_is_not_tried_again(
    code: str, kind: type[VendorError], failure: str, before: bytes, after: bytes
) -> None:
    """What had been bought when it came is not known, so the call is failed, or what else its code says."""
    for body in (before + fault(code) + after, json.dumps({"error": {"code": code}}).encode()):
        with pytest.raises(VendorError) as error:
            await from_openai(body)
        ended = error.value
        assert (type(ended), ended.failure, ended.provider_code, ended.provider_status) == (kind, failure, code, 200)


@pytest.mark.parametrize("code", ["server_error", "moderation_blocked"])
async def test_a_picture_wins_over_an_error_in_the_same_stream(code: str) -> None:
    """It was paid for, whichever of the two came first."""
    for body in (
        fault(code) + BOUGHT,
        fault(code) + PREVIEW + BOUGHT,
        BOUGHT + fault(code),
        PREVIEW + fault(code) + BOUGHT,
    ):
        found = await from_openai(body)
        assert found is not None and found.data == picture(1)


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        *[(name, True) for name in ("restart_image", "errorsname", "unmasked", "result", "promptly")],
        *[(name, False) for name in ("input_image", "startImageUrl", "INPUT", "references", "maskData")],
    ],
)
def test_only_whole_words_of_a_name_say_that_it_is_another_image(name: str, is_taken: bool) -> None:
    """An image in a field of any name is taken, unless a word of the name says that it was sent, or is a draft."""
    body = json.dumps({name: base64.b64encode(picture(1)).decode()}).encode()
    assert (openai.read_whole(body, URL).image is not None) is is_taken
