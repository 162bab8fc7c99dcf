"""IMAGES on Cloudflare Images, as `tests/support/vendors/cloudflare_images.py` plays it."""

import asyncio
import io
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
from PIL import Image

from app.bindings.images import open_images
from app.bindings.images.cloudflare import CloudflareImages
from app.routes import images as routes
from app.settings import SettingError
from tests.support.deadlines import LONG, until
from tests.support.environment import bare_env, settings
from tests.support.files.images import encoded, textured
from tests.support.internet import Answer, Fault, Wire
from tests.support.servers.fault_proxy import FaultProxy, Faults
from tests.support.servers.routes import served
from tests.support.vendors.cloudflare_images import ACCOUNT, HASH, TOKEN, vendor
from tools.env import Images
from tools.errors import Invalid, PicassoError, Unavailable, VendorFailed
from tools.fetch import tls_context
from tools.images import upload_delivery

WEBP = encoded(textured(300, 200), "WEBP")
ID = "0123456789abcdef0123456789abcdef"
PATH = f"/images/{ID}/public"
URL = f"https://imagedelivery.net/{HASH}/{ID}/public"


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    vendor.reset()
    async with Wire() as wire:
        yield wire


@pytest.fixture
async def hosted(wire: Wire, tmp_path: Path) -> AsyncIterator[Images]:
    async with opened(tmp_path, wire.url) as images:
        yield images


def opened(home: Path, url: str, token: str = TOKEN) -> AbstractAsyncContextManager[Images]:
    chosen = settings(
        home,
        IMAGES=f"cloudflare://{ACCOUNT}/{HASH}",
        CLOUDFLARE_API_TOKEN=token,
        CLOUDFLARE_BASE_URL=f"{url}/cloudflare/client/v4",
    )
    return open_images(chosen)


@asynccontextmanager
async def far(wire: Wire, home: Path) -> AsyncIterator[tuple[Images, FaultProxy]]:
    """The same over a line that a test may spoil."""
    async with (
        FaultProxy("127.0.0.1", int(wire.url.rpartition(":")[2])) as proxy,
        opened(home, f"http://127.0.0.1:{proxy.port}") as images,
    ):
        yield images, proxy


async def put(images: Images, image_id: str = ID, data: bytes = WEBP) -> str:
    return await images.put(image_id, data, mime="image/webp")


async def test_an_image_is_kept_under_our_id_and_its_address_is_told(hosted: Images, wire: Wire) -> None:
    """One request uploads the bytes unchanged, and the variant `public` of the answer is the address."""
    assert await put(hosted) == PATH
    assert vendor.stored == {ID: WEBP}
    (call,) = wire.calls
    assert (call.method, call.path, call.body) == ("POST", "/v1", {"id": ID})
    (file,) = [part for part in call.parts if part.name == "file"]
    assert (file.filename, file.mime, file.data) == (f"{ID}.webp", "image/webp", WEBP)


@pytest.mark.parametrize("taken", ["code", "text", "status"])
async def test_an_upload_may_be_repeated(hosted: Images, wire: Wire, taken: Literal["code", "text", "status"]) -> None:
    """However Cloudflare reports that it has the id: the image there is ours, and the result is the same."""
    vendor.taken = taken
    assert await put(hosted) == await put(hosted) == await put(hosted) == PATH
    assert list(vendor.stored) == [ID]
    assert [call.method for call in wire.calls] == ["POST", "POST", "GET", "POST", "GET"]


@pytest.mark.parametrize("fault", ["drop_after", "truncate", "empty", "error", "rate", "garbage", "wrong_mime", "drop"])
async def test_a_failed_upload_can_be_made_again(hosted: Images, wire: Wire, fault: Fault) -> None:
    """Whatever the first failure, it is Unavailable, and the second try ends with one image."""
    wire.scripts["images"].append(Answer(fault))
    with pytest.raises(Unavailable) as caught:
        await put(hosted)
    assert caught.value.code == "images_unavailable" and TOKEN not in str(caught.value)
    assert await put(hosted) == PATH
    assert vendor.stored == {ID: WEBP}


async def test_answers_that_get_lost_leave_one_image(wire: Wire, tmp_path: Path, rounds: int) -> None:
    """The upload arrives, its answer never does; the repeat finds what the first one stored."""
    async with far(wire, tmp_path) as (images, proxy):
        for at in range(rounds * 10):
            proxy.be(Faults(drop_replies=True))
            upload = asyncio.create_task(put(images, f"id-{at}"))
            await until(lambda at=at: f"id-{at}" in vendor.stored)  # type: ignore[misc]
            proxy.reset_all()
            with pytest.raises(Unavailable):
                await upload
            proxy.be(Faults())
            assert await put(images, f"id-{at}") == PATH.replace(ID, f"id-{at}")
    assert len(vendor.stored) == rounds * 10


async def test_a_garbled_answer_publishes_no_garbled_address(wire: Wire, tmp_path: Path, rounds: int) -> None:
    """However answers are garbled, the address is the right one or there is an error."""
    async with far(wire, tmp_path) as (images, proxy):
        proxy.be(Faults(flip=0.7))
        for at in range(rounds * 150):
            try:
                assert await put(images, f"id-{at}") == PATH.replace(ID, f"id-{at}")
            except PicassoError as error:
                assert isinstance(error, Unavailable | VendorFailed), repr(error)


async def test_another_delivery_host_is_taken_from_the_answer(hosted: Images, wire: Wire) -> None:
    """An account with another delivery host, or without a variant `public`, is accepted once two answers agree."""
    vendor.delivery, vendor.variants = "https://images.example.test/cdn-cgi/imagedelivery", ["large", "small"]
    assert await put(hosted) == f"{vendor.delivery}/{HASH}/{ID}/large"
    assert [call.method for call in wire.calls] == ["POST", "GET"]


async def test_a_large_picture_is_made_to_fit(hosted: Images, tmp_path: Path) -> None:
    """12,000 pixels of noise come as a delivery image within Cloudflare's 10 MB, sides and area."""
    noise = Image.frombytes("RGB", (12_000, 1_200), random.Random(3).randbytes(12_000 * 1_200 * 3))
    async with bare_env(tmp_path, IMAGES=hosted) as env:
        assert await upload_delivery(env, ID, encoded(noise, "JPEG")) == PATH
    kept = Image.open(io.BytesIO(vendor.stored[ID]))
    assert kept.format == "WEBP" and max(kept.size) == 4096 and len(vendor.stored[ID]) <= 10_000_000


async def test_what_cloudflare_does_not_take_is_not_tried_again(hosted: Images, wire: Wire) -> None:
    """Bytes over its limit, or no image at all, are refused once by the vendor."""
    for data in (b"no image", encoded(textured(300, 200), "WEBP") + bytes(10_000_001)):
        with pytest.raises(VendorFailed) as caught:
            await put(hosted, data=data)
        assert (caught.value.code, caught.value.failure) == ("images_rejected", "invalid")
    assert len(wire.calls) == 2 and vendor.stored == {}


async def test_a_wrong_token_is_told_and_no_images_end(
    wire: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs wait for the operator, who finds one line in the log; the token is nowhere."""
    async with opened(tmp_path, wire.url, token="a-token-that-was-revoked") as images:
        with caplog.at_level(logging.ERROR, "picasso.images"):
            for _ in range(3):
                with pytest.raises(Unavailable) as caught:
                    await put(images)
        with pytest.raises(Unavailable):
            await images.ping()
    assert (caught.value.code, caught.value.provider_code, caught.value.provider_status) == (
        *("images_refused", "10000"),
        403,
    )
    (record,) = caplog.records
    assert "token" in record.getMessage() and "revoked" not in caplog.text


async def test_an_account_without_images_is_told_the_same_way(hosted: Images, wire: Wire) -> None:
    """5403: Images is not switched on there."""
    wire.scripts["images"].append(Answer("quota"))
    with pytest.raises(Unavailable) as caught:
        await put(hosted)
    assert (caught.value.code, caught.value.provider_code) == ("images_refused", "5403")
    assert await put(hosted) == PATH


async def test_a_busy_cloudflare_is_waited_for(hosted: Images, wire: Wire) -> None:
    """The error of a 429 has the time to wait."""
    wire.scripts["images"].append(Answer("rate", retry_after="7"))
    with pytest.raises(Unavailable) as caught:
        await put(hosted)
    assert (caught.value.failure, caught.value.retry_after) == ("rate", 7.0)


async def test_a_hanging_cloudflare_is_given_up(wire: Wire) -> None:
    """A drop of an answer now and then does not keep a call alive beyond its deadline."""
    async with FaultProxy("127.0.0.1", int(wire.url.rpartition(":")[2])) as proxy:
        base = f"http://127.0.0.1:{proxy.port}{vendor.prefix}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=LONG, verify=tls_context()) as http:
            images = CloudflareImages(http, HASH, seconds=0.5)
            for faults in (Faults(hold=True), Faults(rate=20, slice=1)):
                proxy.be(faults)
                async with asyncio.timeout(LONG):
                    with pytest.raises(Unavailable):
                        await put(images)


async def test_a_deleted_image_is_gone(hosted: Images) -> None:
    """Deleting again is fine, and the id is free."""
    await put(hosted)
    await hosted.delete(ID)
    await hosted.delete(ID)
    assert vendor.stored == {}
    assert await put(hosted) == PATH


async def test_a_failed_delete_is_told(hosted: Images, wire: Wire) -> None:
    """An image that was not deleted is not reported as deleted."""
    await put(hosted)
    wire.scripts["images"].append(Answer("error"))
    with pytest.raises(Unavailable):
        await hosted.delete(ID)
    assert list(vendor.stored) == [ID]


@pytest.mark.parametrize("image_id", ["", "..", "a/b", "a?b", "a%2fb", "ä", "a" * 129])
async def test_ids_cannot_lead_elsewhere(hosted: Images, wire: Wire, image_id: str) -> None:
    """An id that is not a plain word is Invalid before any request."""
    for door in (hosted.put(image_id, WEBP, mime="image/webp"), hosted.delete(image_id)):
        with pytest.raises(Invalid):
            await door
    assert wire.calls == []


async def test_our_own_delivery_leads_there_then(hosted: Images, tmp_path: Path) -> None:
    """GET and HEAD of /images/… redirect to Cloudflare, in whatever variant."""
    chosen = settings(tmp_path, IMAGES=f"cloudflare://{ACCOUNT}/{HASH}", CLOUDFLARE_API_TOKEN="t" * 40)
    async with bare_env(tmp_path, IMAGES=hosted, settings=chosen) as env, served(routes.handlers, env) as client:
        for method, variant in (("GET", "public"), ("HEAD", "w=480")):
            answer = await client.request(method, f"/images/{ID}/{variant}")
            assert (answer.status_code, answer.headers["location"]) == (302, URL)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"IMAGES": "cloudflare://account"}, "IMAGES"),
        ({"IMAGES": "cloudflare://account/hash/more"}, "IMAGES"),
        ({"IMAGES": "cloudflare://account/"}, "IMAGES"),
        ({"IMAGES": "cloudflare://a:b@account/hash"}, "IMAGES"),
        ({"IMAGES": "cloudflare://account/hash", "CLOUDFLARE_API_TOKEN": ""}, "CLOUDFLARE_API_TOKEN"),
    ],
)
async def test_what_is_missing_is_named(tmp_path: Path, environ: dict[str, str], named: str) -> None:
    """One line that opens with the setting."""
    with pytest.raises(SettingError, match=f"^{named} must be "):
        async with open_images(settings(tmp_path, **{"CLOUDFLARE_API_TOKEN": TOKEN, **environ})):
            pass


async def test_a_start_does_not_ask_cloudflare(tmp_path: Path) -> None:
    """Opening works without an answer from Cloudflare: a server is useful without it."""
    async with opened(tmp_path, "http://127.0.0.1:9"):
        pass
