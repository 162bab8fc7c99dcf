"""Previews of images in the making are shown while they are made, and swept when no item names them."""

import dataclasses
from pathlib import Path
from typing import Any, cast

from app.bindings.images.directory import MASTER, LocalImages
from tests.support.internet import picture
from tests.support.samples.job_states import TOY, working
from tools import images
from tools.ledger import attempts, progress
from tools.rows import Count, derived_id


async def test_previews_that_no_item_names_are_swept(tmp_path: Path) -> None:
    """The item's last preview stays; an earlier one, and one that a crash left before the item named it, go. What is
    young stays, and a second sweep finds nothing."""
    folder = tmp_path / "images"
    async with LocalImages.open(folder) as stored, working(tmp_path / "home") as work:
        env, item = dataclasses.replace(work.env, IMAGES=cast(Any, stored)), work.items[0]
        ids = [derived_id(item.id, "preview", n) for n in range(3)]
        for n, image_id in enumerate(ids):
            url = await images.upload_preview(env, image_id, item.id, picture(n))
            if n < 2:
                await progress.advance(env, work.lease, item.id, "generate", 0.3 * (n + 1), url)
        assert await images.sweep_previews(env) == 0
        assert [(folder / image_id[:2] / image_id / MASTER).exists() for image_id in ids] == [True] * 3
        assert await images.sweep_previews(env, older_than=-60) == 2
        assert [(folder / image_id[:2] / image_id / MASTER).exists() for image_id in ids] == [False, True, False]
        assert await images.sweep_previews(env, older_than=-60) == 0
        assert await env.DB.one("SELECT COUNT(*) AS n FROM previews", Count) == Count(1)
        assert ids[1] in str((await work.item(0)).preview_url)


OF_EARLIER = "INSERT INTO unlisted_previews SELECT id, item_id, created_at FROM provider_attempts"


async def test_previews_of_earlier_releases_are_swept(tmp_path: Path) -> None:
    """Those that were stored without being listed go as well, but for the one that its item names."""
    folder = tmp_path / "images"
    async with LocalImages.open(folder) as stored, working(tmp_path / "home") as work:
        env, item = dataclasses.replace(work.env, IMAGES=cast(Any, stored)), work.items[0]
        attempt = await attempts.intend(env, work.lease, item, 1, TOY)
        ids = [derived_id(attempt.id, "preview", n) for n in (1, 2, 3)]
        for n, image_id in enumerate(ids, 1):
            url = await images.upload_delivery(env, image_id, picture(n))
            await progress.advance(env, work.lease, item.id, "generate", 0.2 * n, url)
        await env.DB.run(OF_EARLIER)
        for _ in range(2):
            await images.sweep_previews(env, older_than=-60)
            kept = [(folder / image_id[:2] / image_id / MASTER).exists() for image_id in ids]
            assert kept == [False, False, True]
        assert await env.DB.one("SELECT COUNT(*) AS n FROM unlisted_previews", Count) == Count(0)
