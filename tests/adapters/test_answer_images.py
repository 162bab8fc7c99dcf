"""An image that was paid for is taken out of an answer of whatever form."""

import itertools
from collections.abc import AsyncIterator

import httpx

from adapters.answer_images import UNKNOWN, Found
from adapters.gemini import answer as gemini
from adapters.openai import answer as openai
from adapters.workers import answer as workers
from tests.support.answer_forms import Form, forms
from tools.errors import VendorError

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


async def test_every_form_of_an_answer_gives_its_image() -> None:
    """Whatever its shape, encoding, type and framing, and however it is cut into pieces, the image comes out as it was
    put in: more than 2,000 forms."""
    lost, sizes, count = [], itertools.cycle((1 << 20, 977, 64, 13)), 0
    for count, form in enumerate(forms(), 1):  # noqa: B007 (read afterwards)
        try:
            found = await read(form, next(sizes))
        except VendorError:
            found = None
        if found is None or found.address or found.mime == UNKNOWN or found.data != form.image:
            lost.append(form.name)
    assert lost == [] and count > 2000
