"""Prompts, by rule and with a model's guidance."""

import json
import re
import sqlite3
from pathlib import Path
from typing import get_args

import pytest
from langchain_core.runnables import RunnableLambda

from adapters.planning import GUIDANCE_CHARS
from graphs.image_job.prompts import fitting, guide, is_only_guidance, merge_suggestion, refine
from graphs.image_job.run_config import config_for
from tests.support.chat_vendors import MODELS, VENDORS, chat_job, rows
from tests.support.deadlines import HANG
from tests.support.internet import Answer, Fault, Wire
from tests.support.samples.job_states import Work
from tools.models.prompt_words import read_wording
from tools.rows import JobMetadata, Kind, Tip

SEED = Path("seed/knowledge_base.sql")


def seeded() -> dict[str, dict[str, object]]:
    """The tips, put into a fresh table twice."""
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE knowledge_base (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.executescript(SEED.read_text())
        db.execute("UPDATE knowledge_base SET value = '{\"tip\": \"mine\"}' WHERE key = 'openai.literal'")
        db.executescript(SEED.read_text())
        return {key: json.loads(value) for key, value in db.execute("SELECT key, value FROM knowledge_base")}


def test_each_provider_has_three_to_five_tips_and_changed_ones_stay() -> None:
    """Keys are `{provider}.{slug}`, values `{tip, kinds?}`; seeding again overwrites nothing."""
    tips = seeded()
    for provider in ("openai", "gemini", "workers", "sketch"):
        assert 3 <= sum(key.startswith(f"{provider}.") for key in tips) <= 5
    assert tips["openai.literal"] == {"tip": "mine"}
    assert all(re.fullmatch(r"[a-z]+\.[a-z-]+", key) and set(tip) <= {"tip", "kinds"} for key, tip in tips.items())


KINDS: tuple[Kind, ...] = ("generate", "edit", "inpaint", "outpaint", "variation", "upscale")


@pytest.mark.parametrize("kind", KINDS)
def test_a_refined_prompt_holds_the_users_words_verbatim(kind: Kind) -> None:
    """Nothing of the user's is lost or moved: the refined prompt begins with it."""
    prompt = 'a {curly} "quoted" cat,\nno dogs; size: 3'
    refined = refine(prompt, [Tip("sketch.a", "Do this."), Tip("sketch.b", "Do that.")], kind, "blur, text")
    assert refined.startswith(prompt + "\n\n")
    assert "Do this. Do that." in refined and refined.endswith("Avoid: blur, text")


def test_without_tips_and_wishes_a_prompt_stays_as_it_is() -> None:
    """Nothing is added where there is nothing to add."""
    assert refine("a cat", [], "generate", None) == "a cat"


@pytest.mark.parametrize("kind", KINDS)
def test_tips_for_the_painter_put_no_words_in_the_users_mouth(kind: Kind) -> None:
    """For the built-in image model, a prompt refined with the seeded tips asks for the same as the prompt alone."""
    tips = [Tip(key, str(value["tip"])) for key, value in seeded().items() if key.startswith("sketch.")]
    prompt = "a red boat at dusk"
    assert read_wording(refine(prompt, tips, kind, None)) == read_wording(prompt)
    assert read_wording(refine(prompt, tips, kind, "red")) == read_wording(prompt, "red")


def test_a_suggestion_is_merged_once() -> None:
    """The retry's prompt is the old one and the suggestion; merging again changes nothing."""
    merged = merge_suggestion("a poster", "Let red carry the image.")
    assert merged == "a poster\n\nLet red carry the image."
    assert merge_suggestion(merged, "Let red carry the image.") == merged
    assert merge_suggestion("a poster", "") == "a poster"


TIPS = """
INSERT INTO knowledge_base (key, value)
VALUES ('openai.light', '{"tip": "Name the light."}'), ('gemini.lens', '{"tip": "Name one 35 mm lens."}')
"""
PROMPT = 'exactly 3 red boats, no dogs, with the words "Tide 7"'
each_family = pytest.mark.parametrize("family", MODELS)


async def set_tips(work: Work) -> None:
    await work.env.DB.run("DELETE FROM knowledge_base")
    await work.env.DB.run(TIPS)


async def guided(work: Work, *providers: str) -> JobMetadata:
    """What `guide` decides, in a node of a run of the job."""

    async def node(_: str) -> JobMetadata:
        return await guide(work.env, work.job, providers)

    metadata: JobMetadata = await RunnableLambda(node).ainvoke("", config_for(work.job))
    return metadata


@each_family
async def test_a_model_guides_each_provider_after_the_users_words(tmp_path: Path, family: str) -> None:
    """One call for all providers, each with its own tips; the user's words stay verbatim and come first."""
    environ = {"DEFAULT_MODEL_REASONING": MODELS[family]}
    async with Wire(delay=0.2) as wire, chat_job(tmp_path, wire, PROMPT, **environ) as work:
        await set_tips(work)
        metadata = await guided(work, "openai", "gemini")
        said = f"{PROMPT}\n\nGuidance: Let soft light fall from the side."
        assert metadata.refined_prompt == {"openai": said, "gemini": said}
        assert metadata.applied_tips["gemini"] == [Tip("gemini.lens", "Name one 35 mm lens.")]
        assert wire.most_in_flight[VENDORS[family]] == 2
        assert sorted("35 mm" in call.raw.decode() for call in wire.calls) == [False, True]
        assert await guided(work, "openai", "gemini") == metadata
        ledger = await rows(work.env)
        assert sorted(row.subject for row in ledger) == [f"{work.job.id}:gemini", f"{work.job.id}:openai"]
        assert {(row.purpose, row.state, row.job_id) for row in ledger} == {("refine", "succeeded", work.job.id)}
        assert len(wire.calls) == 2


FAULTS: tuple[Fault, ...] = ("hang", "drop", "wrong_mime", "empty", "refuse", "rate", "quota", "error")


@each_family
@pytest.mark.parametrize("fault", FAULTS)
async def test_without_an_answer_the_rule_refines(tmp_path: Path, family: str, fault: Fault) -> None:
    """Whatever the model's failure, the prompt is the one that the tips make, and no call is left open."""
    environ = {"DEFAULT_MODEL_REASONING": MODELS[family], **(HANG if fault == "hang" else {})}
    async with Wire() as wire, chat_job(tmp_path, wire, PROMPT, **environ) as work:
        await set_tips(work)
        retry_after = "30" if fault == "rate" else "0"
        wire.scripts[VENDORS[family]].extend(Answer(fault, retry_after=retry_after) for _ in range(3))
        metadata = await guided(work, "openai")
        assert metadata.refined_prompt["openai"] == f"{PROMPT}\n\nGuidance: Name the light."
        ledger = await rows(work.env)
        assert len(ledger) == len(wire.calls) <= 2
        assert all(row.settled_at is not None for row in ledger)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Let the red hulls glow in evening light.", True),
        ("Keep the lettering “Tide 7” crisp on all 3 boats.", True),
        ("Show 4 boats.", False),
        ("Paint the hulls blue.", False),
        ('Letter it "Sold".', False),
        ("Add dogs on deck.", False),
        ("Soft light. " * 60, False),
    ],
)
async def test_guidance_brings_in_no_constraint_of_its_own(tmp_path: Path, said: str, kept: bool) -> None:
    """Guidance that adds a number, colour, quoted text or exclusion of its own, or is too long, is replaced by the
    rule."""
    assert is_only_guidance(PROMPT, None, [], " ".join(said.split())) is kept
    async with Wire() as wire, chat_job(tmp_path, wire, PROMPT, DEFAULT_MODEL_REASONING=MODELS["openai"]) as work:
        await set_tips(work)
        wire.scripts["openai_chat"].append(Answer(text=said))
        refined = (await guided(work, "sketch")).refined_prompt["sketch"]
        assert refined == (f"{PROMPT}\n\nGuidance: {said}" if kept else PROMPT)


def test_refining_adds_no_more_than_quotes_count_on() -> None:
    """However long the tips, the prompt grows by GUIDANCE_CHARS at most, and what does not fit is not reported as
    applied."""
    for kind in get_args(Kind):
        tips = fitting([Tip(f"toy.{n}", "x" * 333) for n in range(9)])
        assert 3 <= len(tips) < 9
        grown = len(refine("a cat", tips, kind, "dogs")) - len("a cat" + "\n\n" + "dogs")
        assert grown <= GUIDANCE_CHARS
