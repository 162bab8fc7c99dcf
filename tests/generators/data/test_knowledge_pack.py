"""The knowledge pack: what each tip was worth, against numbers that were counted by hand."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from generators import registry
from generators.data import knowledge_pack
from tests.support.samples.counted_project import FOCUS, LITERAL, add_studio, step_back
from tests.support.samples.page_site import add_project, pages_env
from tools import db
from tools.db import TipValue
from tools.env import Env
from tools.publishing import artifacts


async def make(env: Env, **options: object) -> artifacts.Output:
    decoded = registry.decode_options(knowledge_pack.generator, options)
    draft = artifacts.draft(generator_id="knowledge-pack", title="Autumn", owner_id="default", options=options)
    return await knowledge_pack.generator.generate(env, draft, [await db.get_project(env, "p")], decoded)


def tips_of(output: artifacts.Output) -> dict[tuple[str, bool], Any]:
    """The tips by key and whether they are in use, after validating the file against the schema beside it."""
    (beside,) = output.beside
    schema, pack = json.loads(beside.data), json.loads(output.index.data)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(pack)
    return {(tip["key"], tip["current"]): tip for tip in pack["tips"]}


async def know(env: Env) -> None:
    """Three tips, and none of those that a new database has."""
    await env.DB.run("DELETE FROM knowledge_base")
    await db.put_knowledge(env, FOCUS.key, TipValue(FOCUS.tip, ["generate", "edit"]))
    await db.put_knowledge(env, LITERAL.key, TipValue("Show it as it is said."))
    await db.put_knowledge(env, "workers.quality", TipValue("Clean edges."))


async def test_a_tip_is_measured_by_the_images_it_was_applied_to(database_url: str, tmp_path: Path) -> None:
    """Images count for who painted them, so a stand-in's tip has the image it made for another; by kind of operation
    with what the provider does without the tip; a duplicate and a step back are no images."""
    async with pages_env(tmp_path, database_url, {"DB": database_url}) as env:
        await add_studio(env)
        await step_back(env)
        await know(env)
        tips = tips_of(await make(env))
        focus = tips[FOCUS.key, True]
        assert (focus["applied"], focus["kinds"], focus["provider"]) == (2, ["generate", "edit"], "sketch")
        assert focus["measured"] == {
            "images": 3,
            "passed": 1,
            "failed": 1,
            "notJudged": 1,
            "measured": 0,
            "passRate": 0.5,
        }
        edit, generate = focus["byKind"]
        assert (edit["kind"], edit["applied"], edit["with"]["passed"], edit["difference"]) == ("edit", 1, 1, None)
        assert generate["with"] == {
            "images": 2,
            "passed": 0,
            "failed": 1,
            "notJudged": 1,
            "measured": 0,
            "passRate": 0.0,
        }
        assert generate["without"]["images"] == 0


async def test_what_a_tip_changes_is_told_against_images_without_it(tmp_path: Path) -> None:
    """The tip for workers was in no prompt of the lineage: no effect is claimed for it, and its image counts for no
    tip."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        await know(env)
        await env.DB.run("UPDATE jobs SET metadata = '{}' WHERE id = 'lamp'")
        await env.DB.run("UPDATE jobs SET kind = 'generate' WHERE id = 'lamp'")
        tips = tips_of(await make(env))
        (generate,) = tips[FOCUS.key, True]["byKind"]
        assert (generate["with"]["passRate"], generate["without"]["passRate"], generate["difference"]) == (0, 1, -1)
        unused = tips["workers.quality", True]
        assert (unused["applied"], unused["measured"]["passRate"], unused["byKind"]) == (0, None, [])


async def test_a_wording_that_was_changed_keeps_its_own_measure(tmp_path: Path) -> None:
    """The old wording is reported as no longer current, with its images; the new one starts at nothing."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        await know(env)
        tips = tips_of(await make(env))
        assert tips[LITERAL.key, False]["tip"] == LITERAL.tip
        assert tips[LITERAL.key, False]["measured"]["passRate"] == 1.0
        assert tips[LITERAL.key, False]["kinds"] is None
        assert tips[LITERAL.key, True]["applied"] == 0


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"provider": "sketch"}, [FOCUS.key]),
        ({"minImages": 1}, [LITERAL.key, FOCUS.key]),
        ({"minImages": 4}, []),
    ],
)
async def test_the_options_choose_the_tips(options: dict[str, object], keys: list[str], tmp_path: Path) -> None:
    """By provider, and by how many images there are to go by."""
    async with pages_env(tmp_path) as env:
        await add_studio(env)
        await know(env)
        assert [key for key, _ in tips_of(await make(env, **options))] == keys


async def test_more_tips_than_a_page_of_them_and_no_images(tmp_path: Path) -> None:
    """All tips are there, each measured at nothing."""
    async with pages_env(tmp_path) as env:
        await add_project(env, "p")
        await env.DB.run("DELETE FROM knowledge_base")
        for n in range(230):
            await db.put_knowledge(env, f"sketch.tip-{n:03d}", TipValue("Do."))
        tips = tips_of(await make(env))
        assert len(tips) == 230
        assert {tip["measured"]["images"] for tip in tips.values()} == {0}
