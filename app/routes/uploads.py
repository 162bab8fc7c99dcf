"""POST /api/projects/{id}/uploads: one image, stored for the project's jobs."""

import msgspec
from litestar import Request, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.exceptions import ClientException
from litestar.params import FromPath
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from tools.env import Env
from tools.errors import Invalid, TooLarge
from tools.ingest import store_upload
from tools.media.memory import COPIES, Hold, in_hand


class Uploaded(msgspec.Struct, frozen=True, rename="camel"):
    """A stored image. A job of this project names it by `startImageUrl`; `width` and `height` are upright."""

    start_image_url: str
    sha256: str
    width: int
    height: int
    mime: str


@post("/api/projects/{project_id:str}/uploads", opt={"body": "image"}, tags=["images"])
async def upload_image(
    request: Request[None, None, State],
    env: NamedDependency[Env],
    project_id: FromPath[str],
) -> Uploaded:
    """Store the image in the multipart field `file`: PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, ICO, JPEG 2000, PNM or TGA.
    The same bytes give the same response."""
    async with in_hand(env) as hold:
        data = await read_file_field(request, env.settings.max_image, hold)
        upload = await store_upload(env, project_id, data)
    return Uploaded(f"upload:{upload.sha256}", upload.sha256, upload.width, upload.height, upload.mime)


async def read_file_field(request: Request[None, None, State], limit: int, hold: Hold) -> bytes:
    """The bytes of the form's only field, `file`, read no faster than there is room for them. The middleware limits the
    form's other bytes and the time.

    Fails: TooLarge as soon as more than `limit` bytes came · Invalid (400) for any other form.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ClientException("send the image as multipart/form-data, field `file`", status_code=415)
    data = bytearray()
    try:
        with PushMultipartParser(options["boundary"], max_segment_count=1) as parser:
            async for chunk in request.stream():
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment) and event.name != "file":
                        raise _bad_form("every field must have this name")
                    if isinstance(event, bytes | bytearray):
                        data += event
                if len(data) > limit:
                    raise TooLarge(f"an image may have at most {limit:,} bytes", code="image_too_large")
                await hold.fit(COPIES * len(data))
            if not data:
                raise _bad_form("it is missing or empty")
            return bytes(data)
    except MultipartError as error:
        raise _bad_form("it must be the only field of a complete form") from error


def _bad_form(problem: str) -> Invalid:
    detail = {"errors": [{"field": "file", "problem": problem}]}
    return Invalid(f"the form's field `file`: {problem}", code="bad_form", detail=detail, status=400)


handlers = [upload_image]
