import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.bindings.images.directory import LocalImages
from app.routes import images
from tests.support.environment import bare_env
from tests.support.files.images import encoded, exif, textured
from tests.support.samples.page_site import add_image, add_project
from tests.support.servers.routes import served
from tools.images import deliver_again, upload_delivery

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A server with the delivery image `one`, of 300 × 200 pixels, made from an original with a location in its
    metadata."""
    home = tmp_path_factory.mktemp("home")
    async with LocalImages.open(home / "images") as local, bare_env(home, IMAGES=local) as env:
        original = encoded(textured(300, 200), "JPEG", exif=exif(gps=True))
        assert await upload_delivery(env, "one", original) == "/images/one/public"
        async with served(images.handlers, env) as opened:
            yield opened


@pytest.mark.parametrize(
    ("accept", "mime"),
    [
        (BROWSER, "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("*/*", "image/jpeg"),
        ("image/avif;q=0", "image/jpeg"),
    ],
)
async def test_the_format_is_the_one_that_accept_asks_for(client: httpx.AsyncClient, accept: str, mime: str) -> None:
    """The bytes are what the media type declares, and caches get `Vary: Accept`."""
    answer = await client.get("/images/one/thumb", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, mime)
    image = Image.open(io.BytesIO(answer.content))
    assert f"image/{str(image.format).lower()}" == mime and image.size == (256, 171)
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("variant", "size"), [("public", (300, 200)), ("h=50,w=60,fit=cover", (60, 50))])
async def test_named_and_free_variants_are_served(
    client: httpx.AsyncClient, variant: str, size: tuple[int, int]
) -> None:
    """Variants by name and by size; nothing of the original's metadata is in them."""
    answer = await client.get(f"/images/one/{variant}")
    assert Image.open(io.BytesIO(answer.content)).size == size
    assert b"Exif" not in answer.content


async def test_a_known_image_is_not_sent_again(client: httpx.AsyncClient) -> None:
    """If-None-Match with the validator is 304 without a body; each format has its own validator."""
    first = await client.get("/images/one/thumb")
    etag = first.headers["etag"]
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        again = await client.get("/images/one/thumb", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["vary"] == "Accept"
    for unknown in ('"x"', etag.strip('"'), ""):
        assert (await client.get("/images/one/thumb", headers={"if-none-match": unknown})).content == first.content
    other = await client.get("/images/one/thumb", headers={"accept": "image/webp"})
    assert other.headers["etag"] != etag


async def test_a_part_of_an_image_can_be_had(client: httpx.AsyncClient) -> None:
    """As of every other file."""
    whole = await client.get("/images/one/thumb")
    part = await client.get("/images/one/thumb", headers={"Range": "bytes=-10", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[-10:])
    assert whole.headers["accept-ranges"] == "bytes"


async def test_head_says_what_get_would(client: httpx.AsyncClient) -> None:
    """HEAD has the same headers, the length included, and no body."""
    got, head = await client.get("/images/one/thumb"), await client.head("/images/one/thumb")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "content-length", "cache-control", "vary", "x-content-type-options"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("two/public", 404),
        ("one/original", 400),
        ("one/master", 400),
        ("one/w=0", 400),
        ("one/w=99999", 400),
        ("..%2Fone/public", 404),
        ("%2E%2E/public", 400),
        ("one/..%2Fmaster", 404),
        ("one/thumb.webp", 400),
    ],
)
async def test_other_paths_lead_to_nothing(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Neither the master nor any other file can be named by a URL."""
    answer = await client.get(f"/images/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"


async def test_images_are_delivered_again_from_their_originals(tmp_path: Path) -> None:
    """An empty IMAGES gets the delivery image of every row, also of a step back that shows another row's image; what
    has no original is named, and a second run changes nothing."""
    original = encoded(textured(300, 200), "PNG")
    async with LocalImages.open(tmp_path / "images") as local, bare_env(tmp_path, IMAGES=local) as env:
        await add_project(env, "p")
        for number, shows in ((1, "p-1"), (2, "p-1"), (3, "p-3")):
            await add_image(env, "p", number, generated_image_url=f"/images/{shows}/public")
        for number in (1, 2):
            await env.BUCKET.put(f"project/p/jobs/job/orig/sketch-{number}", original, content_type="image/png")
        for _ in range(2):
            assert await deliver_again(env) == (2, ["p-3"])
        assert sorted(path.parent.name for path in (tmp_path / "images").rglob("master")) == ["p-1"]
