import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from app.routes import uploads
from tests.support.environment import bare_env, settings
from tests.support.files.images import encoded, exif, textured
from tests.support.servers.routes import served
from tools.env import Env
from tools.rows import Count

PICTURE = encoded(textured(40, 30), "PNG")
CAP = 200_000


@pytest.fixture(scope="module")
async def env(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Env]:
    home = tmp_path_factory.mktemp("home")
    async with bare_env(home, settings=settings(home, MAX_IMAGE=str(CAP))) as opened:
        await opened.DB.run("INSERT INTO projects (id, name, created_at, updated_at) VALUES ('p', 'P', 1, 1)")
        yield opened


@pytest.fixture(scope="module")
async def client(env: Env) -> AsyncIterator[httpx.AsyncClient]:
    async with served(uploads.handlers, env) as opened:
        yield opened


async def send(client: httpx.AsyncClient, data: bytes, name: str = "a.png", mime: str = "image/png") -> httpx.Response:
    return await client.post("/api/projects/p/uploads", files={"file": (name, data, mime)})


async def test_an_upload_is_kept_and_named_by_its_bytes(client: httpx.AsyncClient, env: Env) -> None:
    """201 with what decoding showed; the bytes lie under their hash as they came; again is the same answer."""
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    for _ in range(2):
        answer = await send(client, PICTURE)
        assert answer.status_code == 201
        assert answer.json() == {
            "startImageUrl": f"upload:{sha256}",
            "sha256": sha256,
            "width": 40,
            "height": 30,
            "mime": "image/png",
        }
    assert await env.BUCKET.get(f"project/p/uploads/{sha256}") == PICTURE
    rows = await env.DB.one("SELECT COUNT(*) AS n FROM uploads WHERE sha256 = :sha256", Count, sha256=sha256)
    assert rows == Count(1)


LIES = [
    (name, mime)
    for name in ("a.png", "a.html", "a.svg", "../a", "a")
    for mime in ("image/png", "text/html", "image/gif", "x")
]


@pytest.mark.parametrize(("name", "mime"), LIES)
async def test_the_type_is_what_was_decoded(client: httpx.AsyncClient, name: str, mime: str) -> None:
    """The sender's media type and file name change nothing."""
    answer = await send(client, encoded(textured(20, 10), "JPEG", exif=exif(orientation=6)), name, mime)
    assert answer.status_code == 201
    assert (answer.json()["mime"], answer.json()["width"], answer.json()["height"]) == ("image/jpeg", 10, 20)


@pytest.mark.parametrize("data", [b"<script>", encoded(textured(), "PCX"), PICTURE[:300]], ids=["html", "pcx", "cut"])
async def test_what_is_no_image_is_refused(client: httpx.AsyncClient, data: bytes) -> None:
    """Bytes that do not decode are 422 and not stored."""
    answer = await send(client, data)
    assert (answer.status_code, answer.json()["code"]) == (422, "image_rejected")


FORMS_OF_IMAGES = {
    "avif": (encoded(textured(20, 10), "AVIF"), "image/avif"),
    "gif": (encoded(textured(20, 10), "GIF"), "image/gif"),
    **{
        kind: (encoded(textured(20, 10), kind), mime)
        for kind, mime in (
            ("BMP", "image/bmp"),
            ("TIFF", "image/tiff"),
            ("JPEG2000", "image/jp2"),
            ("PPM", "image/x-portable-anymap"),
            ("TGA", "image/x-tga"),
        )
    },
    "icon": (encoded(textured(20, 20), "ICO", sizes=[(20, 20)]), "image/vnd.microsoft.icon"),
    "line break before it": (b"\r\n" + encoded(textured(20, 10), "PNG"), "image/png"),
    "no end mark": (encoded(textured(20, 10), "JPEG")[:-2], "image/jpeg"),
}


@pytest.mark.parametrize("name", FORMS_OF_IMAGES)
async def test_an_unusual_image_is_taken_as_it_is(client: httpx.AsyncClient, env: Env, name: str) -> None:
    """What can be decoded is stored byte for byte, under its own type."""
    data, mime = FORMS_OF_IMAGES[name]
    answer = await send(client, data)
    assert (answer.status_code, answer.json()["mime"], answer.json()["width"]) == (201, mime, 20)
    assert await env.BUCKET.get(f"project/p/uploads/{hashlib.sha256(data).hexdigest()}") == data


async def test_an_upload_over_the_cap_is_refused(client: httpx.AsyncClient) -> None:
    """413 for one byte more than MAX_IMAGE, with a length and in chunks; the cap itself is read."""
    for size, status in ((CAP, 201), (CAP + 1, 413)):
        padded = PICTURE + bytes(size - len(PICTURE))
        assert (await send(client, padded)).status_code == status

    async def chunks() -> AsyncIterator[bytes]:
        yield PART
        for _ in range(100):
            yield bytes(CAP)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    try:
        answer = await client.post("/api/projects/p/uploads", content=chunks(), headers=headers)
        assert answer.status_code == 413
    except httpx.WriteError:
        # The server answered and hung up before all was sent.
        pass


async def test_an_unknown_project_is_not_found(client: httpx.AsyncClient) -> None:
    """404, whatever form the id has."""
    for project in ("unknown", "..%2E", "P", "p%20"):
        answer = await client.post(f"/api/projects/{project}/uploads", files={"file": ("a", PICTURE)})
        assert answer.status_code == 404


PART = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
FORMS: dict[str, tuple[str, bytes, int]] = {
    "json": ("application/json", b"{}", 415),
    "no-type": ("", PICTURE, 415),
    "image": ("image/png", PICTURE, 415),
    "no-boundary": ("multipart/form-data", b"--x\r\n", 415),
    "empty": ("multipart/form-data; boundary=x", b"", 400),
    "no-part": ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
    "no-end": (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\nabc',
        400,
    ),
    "other-field": (
        "multipart/form-data; boundary=x",
        b'--x\r\ncontent-disposition: form-data; name="image"\r\n\r\n' + PICTURE + b"\r\n--x--\r\n",
        400,
    ),
    "empty-file": (
        "multipart/form-data; boundary=x",
        PART + b"\r\n--x--\r\n",
        400,
    ),
    "no-name": ("multipart/form-data; boundary=x", b"--x\r\ncontent-disposition: form-data\r\n\r\na\r\n--x--\r\n", 400),
    "many-headers": ("multipart/form-data; boundary=x", b"--x\r\n" + b"a: b\r\n" * 1000, 400),
    "garbage": ("multipart/form-data; boundary=x", b"\xff" * 1000, 400),
}


@pytest.mark.parametrize("name", FORMS)
async def test_a_form_that_is_not_one_file_is_refused(client: httpx.AsyncClient, name: str) -> None:
    """One field, `file`, and nothing else; anything else is 400 or 415 and never an error of ours."""
    kind, body, status = FORMS[name]
    headers = {"content-type": kind} if kind else {}
    answer = await client.post("/api/projects/p/uploads", content=body, headers=headers)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["code"] == "bad_form" and "`file`" in answer.text


async def test_two_files_are_refused(client: httpx.AsyncClient) -> None:
    """One image at a time."""
    answer = await client.post("/api/projects/p/uploads", files=[("file", ("a", PICTURE)), ("file", ("b", PICTURE))])
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_form")
