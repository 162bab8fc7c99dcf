"""What every generator promises. A new one is taken up by being there."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from generators import registry
from tests.pages import Outline, add_image, add_project, pages_env
from tools import artifacts, db
from tools.env import Env


async def make(env: Env, id: str, project_id: str) -> artifacts.Output:
    generator = registry.find(id)
    options: Any = registry.decode_options(generator, {})
    draft = artifacts.draft(generator_id=id, title="Autumn", owner_id="default", options={})
    output = await generator.generate(env, draft, [await db.get_project(env, project_id)], options)
    row = await artifacts.publish(env, draft, output, [project_id])
    assert row.content_r2_key is not None
    assert await env.BUCKET.get(row.content_r2_key) == output.index.data
    assert (await artifacts.get(env, row.id)).version == 1
    return output


@pytest.mark.parametrize("id", registry.known())
async def test_it_makes_an_object_and_a_row_and_the_same_bytes_again(id: str, tmp_path: Path) -> None:
    """(T10) The file lies in BUCKET under the row's key, and the same image versions give the same bytes."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        for number in range(3):
            await add_image(env, "p", number, judgment="pass")
        first, second = await make(env, id, "p"), await make(env, id, "p")
        assert first.index == second.index
        assert set(first.progression_ids) == {"p-0", "p-1", "p-2"}
        assert msgspec.structs.asdict(first) == msgspec.structs.asdict(second)


@pytest.mark.parametrize("id", registry.known())
async def test_a_project_without_images_is_no_failure(id: str, tmp_path: Path) -> None:
    """The output is valid and says that there is nothing yet."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        output = await make(env, id, "p")
        assert output.progression_ids == ()
        if registry.find(id).output == "html":
            assert "no images yet" in Outline(output.index.data.decode()).text
