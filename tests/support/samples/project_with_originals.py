"""A project whose originals are stored in BUCKET, for the generators that embed pixels."""

import contextlib
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from generators import registry
from tests.support.samples.page_site import add_image, add_project, pages_env
from tools import db
from tools.env import Env
from tools.publishing import artifacts
from tools.publishing.artifacts import Output
from tools.rows import ArtifactRow

Rgb = tuple[int, int, int]
COLOURS: tuple[Rgb, ...] = ((170, 60, 50), (60, 130, 80), (60, 80, 170), (190, 160, 60))
SHAPES = ((960, 640), (640, 960), (640, 640), (1200, 400))


def painted(colour: Rgb, size: tuple[int, int]) -> bytes:
    """A PNG of one colour with a fine pattern and a comment that must not be copied into an artifact."""
    image = Image.new("RGB", size, colour)
    pen = ImageDraw.Draw(image)
    for x in range(0, size[0], 16):
        pen.line((x, 0, x, size[1]), fill=tuple(min(255, channel + 12) for channel in colour))
    image.getexif()[0x9286] = "SECRET"
    file = io.BytesIO()
    image.save(file, "PNG", exif=image.getexif())
    return file.getvalue()


async def add_pictures(env: Env, project_id: str, count: int, facts: Sequence[dict[str, Any]] = ()) -> None:
    """Image versions of four colours and shapes, in turn, with their originals in BUCKET."""
    for number in range(count):
        size = SHAPES[number % len(SHAPES)]
        more = facts[number] if number < len(facts) else {}
        row = await add_image(env, project_id, number, width=size[0], height=size[1], **more)
        data = painted(COLOURS[number % len(COLOURS)], size)
        await env.BUCKET.put(row.original_image_r2_key, data, content_type="image/png")


@contextlib.asynccontextmanager
async def pictures_env(home: Path, count: int, facts: Sequence[dict[str, Any]] = ()) -> AsyncIterator[Env]:
    async with pages_env(home) as env:
        await add_project(env, "p", "Aurora", "Autumn images")
        await add_pictures(env, "p", count, facts)
        yield env


async def made(
    env: Env,
    id: str,
    options: dict[str, Any],
    title: str = "Autumn",
    projects: str = "p",
    draft: ArtifactRow | None = None,
) -> Output:
    generator = registry.find(id)
    draft = draft or artifacts.draft(generator_id=id, title=title, owner_id="default", options=options)
    chosen = [await db.get_project(env, project) for project in projects]
    return await generator.generate(env, draft, chosen, registry.decode_options(generator, options))
