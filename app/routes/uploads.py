"""POST /api/projects/{id}/uploads: one image, kept for the project's jobs."""

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


class Uploaded(msgspec.Struct, frozen=True, rename="camel"):
    """`start_image_url` names the image in a job of this project; `width` and `height` are upright pixels."""

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
    """Keep the PNG, JPEG or WebP in the multipart field `file`; the same bytes again answer the same."""
    data = await _file(request, env.settings.max_image)
    upload = await store_upload(env, project_id, data)
    return Uploaded(f"upload:{upload.sha256}", upload.sha256, upload.width, upload.height, upload.mime)


async def _file(request: Request[None, None, State], cap: int) -> bytes:
    """The bytes of the one part `file`. How many bytes may frame it, and how long all may take, the guard in front
    of the routes decides.

    Fails: TooLarge as soon as more than `cap` came · Invalid (400) for a form that is not that.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ClientException("send the image as multipart/form-data, field `file`", status_code=415)
    try:
        with PushMultipartParser(options["boundary"], max_segment_count=1) as parser:
            return await _part(request, parser, cap)
    except MultipartError as error:
        raise _bad_form("it must have this one field and end as it should") from error


async def _part(request: Request[None, None, State], parser: PushMultipartParser, cap: int) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        for event in parser.parse(chunk):
            if isinstance(event, MultipartSegment) and event.name != "file":
                raise _bad_form("the image must come in this field")
            if isinstance(event, bytes | bytearray):
                data += event
        if len(data) > cap:
            raise TooLarge(f"an image may have at most {cap:,} bytes", code="image_too_large")
    if not data:
        raise _bad_form("it is missing or empty")
    return bytes(data)


def _bad_form(problem: str) -> Invalid:
    detail = {"errors": [{"field": "file", "problem": problem}]}
    return Invalid(f"not a form with the field `file`: {problem}", code="bad_form", detail=detail, status=400)


handlers = [upload_image]
