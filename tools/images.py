"""Facts, hashes and delivery images of images. Pixels are decoded in a child process only."""

import functools
from collections.abc import Callable
from typing import TypeVar

from tools.env import Env
from tools.errors import Invalid, NotFound, TooLarge, Unavailable
from tools.media import pixels
from tools.media.pixels import Facts
from tools.media.sandbox import WORK_SECONDS, run_in_child
from tools.media.variants import Variant
from tools.step import step

T = TypeVar("T")
DELIVERY_SECONDS = 60.0
MOST_BYTES = 100 << 20
"""MAX_IMAGE is for what people send; what was bought is taken even where a vendor's PNG is larger."""


@step("images.inspect")
async def inspect(env: Env, data: bytes, *, most: int | None = None) -> Facts:
    """Decode the image and return its SHA-256, media type, upright width and height in pixels, and size in bytes.

    `most` is the largest size in bytes; MAX_IMAGE when None.
    Fails: TooLarge (`image_too_large`) · Invalid (`image_rejected`) naming what is wrong with it.
    """
    cap = most or env.settings.max_image
    if len(data) > cap:
        raise TooLarge(f"an image may have at most {cap:,} bytes", code="image_too_large")
    return await _work(pixels.inspect, data)


@step("images.phash")
async def phash(env: Env, data: bytes) -> str:
    """The 64-bit perceptual hash as 16 hex digits.

    Fails: Invalid (`image_rejected`).
    """
    return await _work(pixels.phash, data)


@step("images.upload_delivery")
async def upload_delivery(env: Env, image_id: str, data: bytes) -> str:
    """Make the delivery image (WebP), publish it and return its absolute URL.

    Effect: IMAGES put under `image_id`; repeating it succeeds and stores nothing new.
    Fails: Invalid (`image_rejected`) · Unavailable when IMAGES does not answer.
    """
    delivery = await _work(pixels.delivery, data, seconds=DELIVERY_SECONDS)
    return await env.IMAGES.put(image_id, delivery, mime="image/webp")


@step("images.delete_delivery")
async def delete_delivery(env: Env, image_id: str) -> None:
    """Take back a delivery image that no row names.

    Effect: IMAGES delete; repeating it is success.
    Fails: Unavailable when IMAGES does not answer.
    """
    await env.IMAGES.delete(image_id)


@step("images.derive")
async def derive(env: Env, key: str, side: int) -> bytes | None:
    """The original under the key as a JPEG without metadata, at most `side` pixels wide and high.

    None when the original is gone or can no longer be read.

    Fails: Unavailable.
    """
    wanted = Variant(f"w={side},h={side},fit=scale-down", side, side, "scale-down")
    try:
        data = await env.BUCKET.get(key)
        return await _work(functools.partial(pixels.variant, wanted=wanted, encoding="jpeg"), data)
    except (NotFound, Invalid):
        return None


async def _work(function: Callable[[bytes], T], data: bytes, *, seconds: float = WORK_SECONDS) -> T:
    """Run the function on the bytes in the child process.

    Fails: Invalid (`image_rejected`) · Unavailable (`image_busy`).
    """
    try:
        return await run_in_child(function, data, seconds=seconds)
    except Unavailable as error:
        if error.code != "image_child":
            raise
        # Three child processes died of this image: a retry would not change that.
        raise Invalid("the image could not be processed", code="image_rejected") from error
