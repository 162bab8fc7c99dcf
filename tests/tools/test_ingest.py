import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.environment import bare_env, settings
from tests.support.files.images import encoded, exif, textured
from tools import r2
from tools.env import Env
from tools.errors import Invalid, NotFound, TooLarge
from tools.ingest import ingest, own_name, store_upload
from tools.rows import Count, StoredImage

PICTURE = encoded(textured(40, 30), "PNG")
SHA256 = hashlib.sha256(PICTURE).hexdigest()
PROJECT = "INSERT INTO projects (id, name, created_at, updated_at) VALUES (:id, 'P', 1, 1)"
PROGRESSION = """
INSERT INTO image_progressions (id, project_id, prompt, generated_image_url, original_image_r2_key, ai_provider,
    created_at, edge, width, height, sha256)
VALUES (:id, :project_id, 'x', 'x', :r2_key, 'sketch', 1, 'generate', 1, 1, :sha256)
"""


@asynccontextmanager
async def site(*bodies: bytes) -> AsyncIterator[tuple[int, list[int]]]:
    """A port that answers with the bodies in turn, and the requests it got."""
    asked: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = bodies[len(asked) % len(bodies)]
        asked.append(1)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1], asked


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Env, str, list[int]]]:
    """An Env with the projects `p` and `q`, and the address of a site that changes its picture each time."""
    home = tmp_path_factory.mktemp("home")
    async with site(PICTURE, encoded(textured(8, 8), "PNG"), b"<html>") as (port, asked):
        given = settings(home, FETCH_ALLOW=f"127.0.0.1:{port}", MAX_IMAGE="100000")
        async with bare_env(home, settings=given) as env:
            for project in ("p", "q"):
                await env.DB.run(PROJECT, id=project)
            yield env, f"http://127.0.0.1:{port}/a.png", asked


@pytest.fixture(scope="module")
def env(served: tuple[Env, str, list[int]]) -> Env:
    return served[0]


async def rejected(env: Env, url: str, job: str = "rejected") -> Invalid:
    with pytest.raises(Invalid) as caught:
        await ingest(env, "p", job, "start", url)
    assert caught.value.code == "start_image_rejected"
    assert await env.BUCKET.head(r2.original_key("p", job, "start")) is None
    return caught.value


async def test_an_address_is_fetched_once_for_a_job(served: tuple[Env, str, list[int]]) -> None:
    """The start image is stored unchanged; a repeated job uses the same bytes without another request."""
    env, url, asked = served
    first = await ingest(env, "p", "j", "start", url)
    assert first == StoredImage("project/p/jobs/j/orig/start", SHA256, "image/png", 40, 30, len(PICTURE))
    assert await env.BUCKET.get(first.r2_key) == PICTURE
    assert await ingest(env, "p", "j", "start", url) == first
    assert len(asked) == 1
    other = await ingest(env, "p", "j", "mask", url)
    assert (other.r2_key, other.width) == ("project/p/jobs/j/orig/mask", 8)
    assert "not a PNG" in (await rejected(env, url)).message


async def test_an_upload_is_read_from_its_project_alone(env: Env) -> None:
    """`upload:` names the bytes of this project; another project's upload is unknown here."""
    upload = await store_upload(env, "p", PICTURE)
    again = await store_upload(env, "p", PICTURE)
    assert (again.sha256, again.r2_key) == (upload.sha256, upload.r2_key) == (SHA256, f"project/p/uploads/{SHA256}")
    stored = await ingest(env, "p", "j2", "start", f"upload:{upload.sha256}")
    assert (stored.r2_key, stored.sha256) == ("project/p/jobs/j2/orig/start", SHA256)
    with pytest.raises(Invalid) as caught:
        await ingest(env, "q", "j2", "start", f"upload:{upload.sha256}")
    assert caught.value.code == "start_image_rejected"
    assert await env.DB.one("SELECT COUNT(*) AS n FROM uploads WHERE project_id = 'p'", Count) == Count(1)


async def test_a_progression_gives_its_original(env: Env) -> None:
    """`progression:` means the original of that step, in the same project."""
    key = await r2.put_original(env, "p", "j0", "sketch-0", PICTURE, "image/png")
    await env.DB.run(PROGRESSION, id="step", project_id="p", r2_key=key, sha256=SHA256)
    assert (await ingest(env, "p", "j3", "start", "progression:step")).sha256 == SHA256
    with pytest.raises(Invalid):
        await ingest(env, "q", "j3", "start", "progression:step")


async def test_a_flipped_bit_is_noticed(env: Env) -> None:
    """Stored bytes that do not match their row's digest do not become a start image."""
    still_an_image = encoded(textured(40, 30).point(lambda level: level ^ 1), "PNG")
    await env.BUCKET.put("project/p/jobs/j9/orig/sketch-0", still_an_image, content_type="image/png")
    row = {"id": "flipped", "project_id": "p", "r2_key": "project/p/jobs/j9/orig/sketch-0", "sha256": SHA256}
    await env.DB.run(PROGRESSION, **row)
    assert "damaged" in (await rejected(env, "progression:flipped")).message


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("data:image/png;base64,AAAA", "data: addresses are not accepted"),
        ("DATA:,x", "data: addresses are not accepted"),
        ("", "an image is named by"),
        ("file:///etc/passwd", "an image is named by"),
        ("ftp://a.example/b", "an image is named by"),
        ("upload:", "an image is named by"),
        ("upload:../../x", "an image is named by"),
        (f"upload:{SHA256.upper()}", "an image is named by"),
        (f"upload:{'0' * 64}", "no image of that name"),
        ("progression:unknown", "no image of that name"),
        ("progression:' OR 1=1 --", "an image is named by"),
        ("images/one/public", "an image is named by"),
    ],
)
async def test_other_names_are_refused(env: Env, url: str, words: str) -> None:
    """A name that is not one of this project's images is refused with a safe message."""
    assert words in (await rejected(env, url)).message


async def test_a_row_without_its_object_is_refused(env: Env) -> None:
    """A missing original fails, with no path in the message."""
    await env.DB.run(PROGRESSION, id="gone", project_id="p", r2_key="project/p/jobs/x/orig/y", sha256=SHA256)
    assert "project/" not in (await rejected(env, "progression:gone")).message


async def test_uploads_are_checked(env: Env) -> None:
    """Unknown projects, too many bytes and bytes that are not an image are refused, and nothing of them is stored."""
    with pytest.raises(NotFound):
        await store_upload(env, "unknown", PICTURE)
    with pytest.raises(TooLarge):
        await store_upload(env, "q", PICTURE + bytes(100_000))
    with pytest.raises(Invalid) as caught:
        await store_upload(env, "q", b"no image")
    assert caught.value.code == "image_rejected"
    assert [stored async for stored in env.BUCKET.list("project/q/uploads/")] == []


async def test_upright_sizes_are_told(env: Env) -> None:
    """A photograph taken sideways is as wide as it is seen."""
    upload = await store_upload(env, "q", encoded(textured(40, 30), "JPEG", exif=exif(orientation=8)))
    assert (upload.mime, upload.width, upload.height) == ("image/jpeg", 30, 40)


SHOWN = PROGRESSION.replace("'x', 'x'", "'x', :url")
OWN = "018f0c7e-0000-4000-8000-00000000000a"


async def test_an_address_of_our_own_image_means_its_original(tmp_path: Path) -> None:
    """Whatever variant it names: at PUBLIC_URL, at a host the caller used, as a path, or as IMAGES gave it. What is
    ours and no image of this project is refused; every other address is left alone."""
    chosen = settings(tmp_path, PUBLIC_URL="https://picasso.example/made", API_KEY="k" * 32)
    async with bare_env(tmp_path, settings=chosen) as env:
        for project in ("p", "q"):
            await env.DB.run(PROJECT, id=project)
        at = "https://picasso.example/made/images/"
        rows = [
            (OWN, "p", f"/images/{OWN}/public"),
            ("back", "p", "/images/of-a-start/public"),
            ("flare", "p", "https://imagedelivery.net/hash/flare/public"),
            ("moved", "p", f"/images/{'a' * 32}/public"),
            ("theirs", "q", "/images/theirs/public"),
        ]
        for id, project, url in rows:
            await env.DB.run(SHOWN, id=id, project_id=project, r2_key="k", sha256=SHA256, url=url)
        ours = {
            f"{at}{OWN}/public": OWN,
            f"{at}{OWN}/w=200,h=100,fit=cover": OWN,
            f"HTTPS://PICASSO.example/made/images/{OWN}/thumb?x=1".replace("HTTPS", "https"): OWN,
            f"http://localhost:8000/images/{OWN}/public": OWN,
            f"http://localhost:8000/made/images/{OWN}/public": OWN,
            f"https://picasso.example:443/made/images/{OWN}/public": OWN,
            f"http://picasso.example:80/made/images/{OWN}/public": OWN,
            f"http://127.0.0.1:8000/images/{OWN}/public": OWN,
            f"http://[::1]:8000/images/{OWN}/public": OWN,
            f"/images/{OWN}/preview": OWN,
            f"/made/images/{OWN}/public": OWN,
            "/images/of-a-start/public": "back",
            "https://imagedelivery.net/hash/flare/public": "flare",
            "https://imagedelivery.net/hash/flare/thumb": "flare",
            f"https://old.example/images/{'a' * 32}/public": "moved",
        }
        for url, id in ours.items():
            assert await own_name(env, "p", url, ["localhost:8000"]) == f"progression:{id}", url
        for url in ("/images/none/public", f"{at}theirs/public", "/other/images/x/y", "/images/%/public", "/images//x"):
            with pytest.raises(Invalid, match="no image of that address"):
                await own_name(env, "p", url)
        for url in (
            f"https://elsewhere.example/images/{OWN}/public",
            f"http://localhost:8000/images/{OWN}/public",
            f"https://picasso.example:80/images/{OWN}/public",
            f"https://picasso.example:4443/images/{OWN}/public",
            f"http://127.0.0.100/images/{OWN}/public",
            "https://imagedelivery.net/other/flare/public",
            "https://a.example/b.png",
            "https://a.example",
            "http://[half/images/a/b",
            "upload:" + "0" * 64,
            f"progression:{OWN}",
        ):
            assert await own_name(env, "p", url) is None, url


@pytest.mark.parametrize(
    ("public", "url", "is_ours"),
    [
        ("http://127.0.0.1:8799", "http://localhost:8799", True),
        ("http://127.0.0.1:8799", "http://[::1]:8799", True),
        ("http://localhost:80", "http://127.0.0.1", True),
        ("http://127.0.0.1:8799", "http://localhost:8800", False),
        ("http://127.0.0.1:8799", "http://127.0.0.1.example:8799", False),
    ],
)
async def test_a_loopback_server_knows_each_name_of_its_machine(
    tmp_path: Path, public: str, url: str, is_ours: bool
) -> None:
    """Whichever of the loopback names an address has, at our port it is ours."""
    chosen = settings(tmp_path, PUBLIC_URL=public)
    async with bare_env(tmp_path, settings=chosen) as env:
        await env.DB.run(PROJECT, id="p")
        await env.DB.run(SHOWN, id=OWN, project_id="p", r2_key="k", sha256=SHA256, url=f"/images/{OWN}/public")
        found = await own_name(env, "p", f"{url}/images/{OWN}/public")
    assert found == (f"progression:{OWN}" if is_ours else None)
