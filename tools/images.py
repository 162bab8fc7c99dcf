"""Facts, hashes and delivery images of images. Pixels are decoded in a child process only."""

import functools
from collections.abc import Callable
from typing import TypeVar

import msgspec

from tools.env import Env
from tools.errors import Invalid, NotFound, TooLarge, Unavailable
from tools.media import pixels
from tools.media.pixels import Facts
from tools.media.sandbox import WORK_SECONDS, run_in_child
from tools.media.variants import Variant
from tools.rows import IdRow, derived_id, now_ms
from tools.step import step

T = TypeVar("T")
ADD_PREVIEW = """
INSERT INTO previews (image_id, item_id, created_at) VALUES (:image_id, :item_id, :now) ON CONFLICT DO NOTHING
"""
UNNAMED_PREVIEWS = """
SELECT previews.image_id AS id FROM previews JOIN job_items ON job_items.id = previews.item_id
WHERE previews.created_at < :before
  AND (job_items.preview_url IS NULL
       OR REPLACE(job_items.preview_url, previews.image_id, '') = job_items.preview_url)
ORDER BY previews.created_at LIMIT :limit
"""
UNLISTED = "SELECT attempt_id, item_id, created_at FROM unlisted_previews ORDER BY attempt_id LIMIT :limit"
LIST_PREVIEW = """
INSERT INTO previews (image_id, item_id, created_at) VALUES (:image_id, :item_id, :created_at) ON CONFLICT DO NOTHING
"""
LISTED = "DELETE FROM unlisted_previews WHERE attempt_id = :attempt_id"
MOST_PREVIEWS = 8
"""Of one call, as many of an earlier release's are looked for."""
FORGET_PREVIEW = "DELETE FROM previews WHERE image_id = :image_id"
PREVIEW_SECONDS, PREVIEWS_AT_ONCE = 3600.0, 500
"""How long a preview stays that an item does not name, or no longer names: a later one took its place."""
DELIVERED = """
SELECT id, generated_image_url, original_image_r2_key AS r2_key FROM image_progressions
WHERE generated_image_url LIKE '/images/%' AND id > :after ORDER BY id LIMIT :limit
"""
DELIVERY_SECONDS = 60.0
MOST_BYTES = 100 << 20
"""MAX_IMAGE is for what people send; what was bought is taken even where a vendor's PNG is larger."""


class Delivered(msgspec.Struct, frozen=True):
    """An image of ours, and the key of its original."""

    id: str
    generated_image_url: str
    r2_key: str


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
    """Make the delivery image (WebP), publish it and return its address as rows keep it.

    Effect: IMAGES put under `image_id`; repeating it succeeds and stores nothing new.
    Fails: Invalid (`image_rejected`) · Unavailable when IMAGES does not answer.
    """
    delivery = await _work(pixels.delivery, data, seconds=DELIVERY_SECONDS)
    return await env.IMAGES.put(image_id, delivery, mime="image/webp")


@step("images.upload_preview")
async def upload_preview(env: Env, image_id: str, item_id: str, data: bytes) -> str:
    """Publish a preview of an item's image and return its address as rows keep it.

    Effect: a row for `sweep_previews`, then as `upload_delivery`.
    Fails: Invalid (`image_rejected`) · Unavailable.
    """
    await env.DB.run(ADD_PREVIEW, image_id=image_id, item_id=item_id, now=now_ms())
    return await upload_delivery(env, image_id, data)


@step("images.sweep_previews", idle=True)
async def sweep_previews(env: Env, older_than: float = PREVIEW_SECONDS) -> int:
    """Delete the previews that no item names and that are older than `older_than` seconds; return how many.

    Effect: IMAGES delete, then the row.
    Fails: Unavailable when IMAGES or DB does not answer.
    """
    while await _list_earlier(env):
        pass
    before, swept = now_ms() - round(older_than * 1000), 0
    while found := await env.DB.all(UNNAMED_PREVIEWS, IdRow, before=before, limit=PREVIEWS_AT_ONCE):
        for preview in found:
            await env.IMAGES.delete(preview.id)
            await env.DB.run(FORGET_PREVIEW, image_id=preview.id)
        swept += len(found)
    return swept


class _Unlisted(msgspec.Struct, frozen=True):
    attempt_id: str
    item_id: str
    created_at: int


async def _list_earlier(env: Env) -> int:
    """List the previews that earlier releases stored without a list, of so many calls at once; how many calls they
    were."""
    found = await env.DB.all(UNLISTED, _Unlisted, limit=PREVIEWS_AT_ONCE)
    async with env.DB.transaction() as tx:
        for call in found:
            ids = [derived_id(call.attempt_id, "preview", n) for n in range(1, MOST_PREVIEWS + 1)]
            told: dict[str, str | int] = {"item_id": call.item_id, "created_at": call.created_at}
            await tx.many(LIST_PREVIEW, [{**told, "image_id": id} for id in ids])
            await tx.run(LISTED, attempt_id=call.attempt_id)
    return len(found)


@step("images.delete_delivery")
async def delete_delivery(env: Env, image_id: str) -> None:
    """Take back a delivery image that no row names.

    Effect: IMAGES delete; repeating it is success.
    Fails: Unavailable when IMAGES does not answer.
    """
    await env.IMAGES.delete(image_id)


async def deliver_again(env: Env, told: Callable[[int], None] = lambda _: None) -> tuple[int, list[str]]:
    """Put the delivery images of all rows into IMAGES, for one that has none of them yet, such as another host's.
    Return how many there are now, and the ids of the images that have none because their original is gone.

    Effect: IMAGES put for each; one that is there already stays. `told` is called with the count after each hundred.
    Fails: Unavailable · VendorFailed; repeating it goes on.
    """
    delivered, lost, after = 0, list[str](), ""
    while rows := await env.DB.all(DELIVERED, Delivered, after=after, limit=100):
        for row in rows:
            try:
                data = await env.BUCKET.get(row.r2_key)
            except NotFound:
                lost.append(row.id)
                continue
            await upload_delivery(env, row.generated_image_url.split("/")[2], data)
            delivered += 1
        after = rows[-1].id
        told(delivered)
    return delivered, lost


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
