"""Prompts by rule."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from graphs.prompts import merge_suggestion, refine
from tools.rows import Kind, Tip
from tools.wording import read_wording

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
    """Read by the painter, a prompt refined with the seeded tips asks for what the prompt alone asks for."""
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
