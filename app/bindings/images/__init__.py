"""IMAGES: a directory or Cloudflare Images; the scheme of the address picks which."""

import contextlib
import re
from collections.abc import AsyncIterator

from app.bindings.files import folder_of
from app.settings import Settings
from tools.env import Images
from tools.errors import Invalid

ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@contextlib.asynccontextmanager
async def open_images(settings: Settings) -> AsyncIterator[Images]:
    """The delivery images that `IMAGES` names.

    Fails: SettingError for an address that cannot be used.
    """
    if settings.images.startswith("file:///"):
        from app.bindings.images.directory import LocalImages

        async with LocalImages.open(folder_of(settings.images)) as directory:
            yield directory
    else:
        from app.bindings.images.cloudflare import CloudflareImages

        async with CloudflareImages.open(settings.images, settings.vendor) as cloudflare:
            yield cloudflare


def check_image_id(image_id: str) -> str:
    """The id, unchanged. Fails: Invalid (`bad_image_id`)."""
    if not ID.fullmatch(image_id):
        raise Invalid("not the id of an image", code="bad_image_id", status=400)
    return image_id
