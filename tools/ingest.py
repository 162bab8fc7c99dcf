"""Images from users: uploads, and the start, mask and reference images of jobs."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from tools import images, r2
from tools.env import Env
from tools.errors import Invalid, NotFound, TooLarge
from tools.fetch import fetch
from tools.media.memory import COPIES, in_hand
from tools.publishing.addresses import image_path, kept
from tools.rows import IdRow, StoredImage, Upload, now_ms
from tools.step import step

REJECTED = "start_image_rejected"
UPLOAD = re.compile(r"upload:([0-9a-f]{64})")
OWN_PATH = re.compile(r"/images/([A-Za-z0-9-]{1,64})/[a-z0-9=,-]+")
"""The path of a delivery image in some variant, as a directory of IMAGES is served."""
USUAL_PORT = {"http": ":80", "https": ":443"}
LOOPBACK = re.compile(r"^(?:127\.0\.0\.1|\[::1\])(?=$|:)")
PROGRESSION = re.compile(r"progression:([A-Za-z0-9_-]{1,128})")

HAS_PROJECT = "SELECT id FROM projects WHERE id = :id"
GET_UPLOAD = """
SELECT project_id, sha256, r2_key, mime, width, height, size, created_at FROM uploads
WHERE project_id = :project_id AND sha256 = :sha256
"""
INSERT_UPLOAD = """
INSERT INTO uploads (project_id, sha256, r2_key, mime, width, height, size, created_at)
VALUES (:project_id, :sha256, :r2_key, :mime, :width, :height, :size, :created_at)
ON CONFLICT (project_id, sha256) DO NOTHING
"""
GET_ORIGINAL = """
SELECT original_image_r2_key AS r2_key, sha256 FROM image_progressions
WHERE id = :id AND project_id = :project_id
"""
OWN_IMAGE = "SELECT id, generated_image_url FROM image_progressions WHERE id = :id AND project_id = :project_id"
SHOWN_IMAGE = """
SELECT id, generated_image_url FROM image_progressions
WHERE project_id = :project_id AND generated_image_url = :url
ORDER BY created_at, id LIMIT 1
"""


class _Shown(msgspec.Struct, frozen=True):
    id: str
    generated_image_url: str


class Source(msgspec.Struct, frozen=True):
    """An object in BUCKET and the SHA-256 that its bytes must have."""

    r2_key: str
    sha256: str


async def store_upload(env: Env, project_id: str, data: bytes) -> Upload:
    """Store an image for the project and return its row; uploading the same bytes again returns the same row.

    Effect: BUCKET put_once at `upload_key`, then the row.
    Fails: NotFound for an unknown project · TooLarge · Invalid (`image_rejected`).
    """
    if await env.DB.one(HAS_PROJECT, IdRow, id=project_id) is None:
        raise NotFound("no such project")
    facts = await images.inspect(env, data)
    key = r2.upload_key(project_id, facts.sha256)
    upload = Upload(
        project_id, facts.sha256, key, facts.mime, facts.width, facts.height, facts.size, created_at=now_ms()
    )
    return await _store(env, upload, data)


@step("ingest.keep_upload")
async def _store(env: Env, upload: Upload, data: bytes) -> Upload:
    # A step of its own, so that a retry does not decode the image again.
    await r2.put_exactly(env, upload.r2_key, data, upload.mime)
    await env.DB.run(INSERT_UPLOAD, **msgspec.structs.asdict(upload))
    if await env.BUCKET.head(upload.r2_key) is None:
        # `r2.sweep` deleted an old object without a row between the put and the row. Now the row protects it.
        await r2.put_exactly(env, upload.r2_key, data, upload.mime)
    return upload


@step("ingest.own_name")
async def own_name(env: Env, project_id: str, url: str, hosts: Sequence[str] = ()) -> str | None:
    """`progression:ID` for the address of one of the project's delivery images, in any variant: a job works from
    originals. None for any other address.

    Ours are addresses below PUBLIC_URL, at `hosts`, or with a path alone; those that IMAGES gave; and those that this
    installation had earlier. The names of a machine for itself are one name, and a port that the scheme implies may be
    spelled out.
    Fails: Invalid (422, `unknown_progression`) when the address is ours and no such image is in the project.
    """
    if not url.startswith(("http://", "https://", "/")):
        return None
    public = urlsplit(env.settings.public_url)
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    here = {"", _place(public.netloc, public.scheme), *(_place(host, parts.scheme) for host in hosts)}
    path = OWN_PATH.fullmatch(parts.path.removeprefix(public.path.rstrip("/")))
    is_ours = path is not None and _place(parts.netloc, parts.scheme) in here
    image_id, shown = path[1] if path is not None else url.split("/")[-2], kept(env.settings, url)
    found = await env.DB.one(OWN_IMAGE, _Shown, id=image_id, project_id=project_id)
    if found is None or not (is_ours or found.generated_image_url.rpartition("/")[0] == shown.rpartition("/")[0]):
        # A rollback's row shows the image of another row.
        shown = image_path(image_id) if is_ours else shown
        found = await env.DB.one(SHOWN_IMAGE, _Shown, project_id=project_id, url=shown)
    if found is not None:
        return f"progression:{found.id}"
    if is_ours or not parts.netloc:
        detail = {"image": image_id}
        raise Invalid("this project has no image of that address", code="unknown_progression", detail=detail)
    return None


def _place(host: str, scheme: str) -> str:
    """A host, perhaps with a port, in the one form in which two can be compared."""
    host = host.lower().removesuffix(USUAL_PORT.get(scheme, ":"))
    return LOOPBACK.sub("localhost", host)


async def ingest(env: Env, project_id: str, job_id: str, name: str, url: str) -> StoredImage:
    """Store the image at `url` (https:, http:, upload:SHA256, progression:ID) as an original of the job under `name`.

    An original that is already there under that name is used as it is, so a repeated job works from the same bytes.

    Effect: BUCKET put_once at `original_key`.
    Fails: Invalid (`start_image_rejected`) with a message that is safe to show · Unavailable when a binding does not
    answer.
    """
    key = r2.original_key(project_id, job_id, name)
    try:
        known = await env.BUCKET.head(key)
        # How large an image from outside is shows only when it has come.
        async with in_hand(env, known.size if known else env.settings.max_image) as hold:
            data = await (env.BUCKET.get(key) if known else _load(env, project_id, url))
            await hold.fit(COPIES * len(data))
            facts = await images.inspect(env, data)
            if not known:
                await r2.put_original(env, project_id, job_id, name, data, facts.mime)
    except (Invalid, NotFound, TooLarge) as error:
        raise Invalid(error.message, code=REJECTED, detail={"cause": error.code}) from error
    return StoredImage(key, facts.sha256, facts.mime, facts.width, facts.height, facts.size)


async def _load(env: Env, project_id: str, url: str) -> bytes:
    """The bytes that a URL or the name of one of the project's images stands for."""
    if url.lower().startswith(("https://", "http://")):
        return await fetch(env, url, max_bytes=env.settings.max_image)
    if found := UPLOAD.fullmatch(url):
        source = await env.DB.one(GET_UPLOAD, Source, project_id=project_id, sha256=found[1])
    elif found := PROGRESSION.fullmatch(url):
        source = await env.DB.one(GET_ORIGINAL, Source, project_id=project_id, id=found[1])
    elif url.lower().startswith("data:"):
        raise Invalid("data: addresses are not accepted; upload the file and name it upload:…", code="data_url")
    else:
        raise Invalid("an image is named by https://…, http://…, upload:… or progression:…", code="unknown_address")
    if source is None:
        raise NotFound("this project has no image of that name")
    data = await env.BUCKET.get(source.r2_key)
    if not r2.is_intact(data, source.sha256):
        raise Invalid("the stored image is damaged", code="damaged")
    return data
