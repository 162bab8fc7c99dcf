"""GET /images/{id}/{variant}: delivery images from the local store, open to everyone."""

from typing import Annotated

from litestar import Request, Response, get, head
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import PathParameter

from app.bindings.images.directory import LocalImages
from app.http.conditional import respond_bytes
from app.http.rules import pattern
from tools.env import Env
from tools.errors import NotFound
from tools.media.variants import negotiate, parse
from tools.publishing import addresses

ImageId = Annotated[str, PathParameter(pattern="^[A-Za-z0-9._-]{1,128}$")]
VARIANT = pattern(
    "^(public|preview|thumb|(w|h|fit)=[a-z0-9-]+(,(w|h|fit)=[a-z0-9-]+){0,2})$",
    "that is public, preview, thumb or as w=640,h=480,fit=cover",
)
VariantName = Annotated[str, PathParameter(pattern=VARIANT)]
PATH = "/images/{image_id:str}/{variant:str}"
CACHE = "public, max-age=31536000, immutable"


@get(PATH, opt={"access": "open"}, tags=["images"])
async def get_image(
    request: Request[None, None, State],
    env: NamedDependency[Env],
    image_id: ImageId,
    variant: VariantName,
) -> Response[bytes]:
    """A delivery image as `public` (at most 2048 pixels long), `preview` (1024), `thumb` (256) or `w=…,h=…,fit=…`;
    where Cloudflare delivers, a redirect to it.

    AVIF, WebP or JPEG according to `Accept`; each is encoded when it is first requested, and stored.
    """
    return await _image(request, env, image_id, variant)


@head(PATH, opt={"access": "open"}, tags=["images"])
async def head_image(
    request: Request[None, None, State],
    env: NamedDependency[Env],
    image_id: ImageId,
    variant: VariantName,
) -> Response[None]:
    """The headers of a GET, without the image."""
    whole = await _image(request, env, image_id, variant)
    return Response(None, status_code=whole.status_code or 200, headers=whole.headers)


async def _image(request: Request[None, None, State], env: Env, image_id: str, variant: str) -> Response[bytes]:
    if env.settings.delivery_url is not None:
        # Links that were told before IMAGES moved.
        there = addresses.whole(env.settings, addresses.image_path(image_id))
        return Response(b"", status_code=302, headers={"Location": there, "Cache-Control": "public, max-age=3600"})
    if not isinstance(env.IMAGES, LocalImages):
        raise NotFound("delivery images are not served from here")
    encoding = negotiate(request.headers.get("accept", ""))
    rendition = await env.IMAGES.rendition(image_id, parse(variant), encoding)
    headers = {
        "Content-Type": f"image/{encoding}",
        "ETag": rendition.etag,
        "Cache-Control": CACHE,
        "Vary": "Accept",
        # Other sites may embed delivery images.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return respond_bytes(request, rendition.data, headers)


handlers = [get_image, head_image]
