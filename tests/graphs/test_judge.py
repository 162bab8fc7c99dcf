"""The judge graph: look, record, and never fail."""

from pathlib import Path
from typing import Any

import pytest

from graphs.judge import JudgeState, JudgeStatus, judge_builder, look
from tests.parts import bare_env
from tests.adapters.pictures import gradient, painted
from tools import ai
from tools.ai import Sight
from tools.env import Env
from tools.errors import Invalid, NotFound
from tools.rows import Inputs, Item, Job, JobMetadata, JobRequest, Progression, StoredImage, Verdict

REQUEST = JobRequest(prompt="a deep red poster", providers=[{"provider": "sketch"}], session_id="s", size="128x128")
STATE = JudgeState(item_id="i", job_id="j", project_id="p", progression_id="g")


def rows(image_key: str, inputs: Inputs | None = None, **job: Any) -> tuple[Job, Item, Progression]:
    """A job of one item and its progression, as the database gives them."""
    fields: dict[str, Any] = {
        "id": "j", "project_id": "p", "session_id": "s", "status": "running", "prompt": REQUEST.prompt,
        "kind": "generate", "request": REQUEST, "metadata": JobMetadata(), "inputs": inputs,
        "parent_progression_id": None, "retry_of": None, "body_sha256": "", "correlation_id": "c", "fence": 1,
        "idle_claims": 0, "lease_until": 0, "created_at": 0, "started_at": 0, "ended_at": None,
    }  # fmt: skip
    item = Item(
        id="i", job_id="j", position=0, provider="sketch", model="sketch-1", variant_index=0, seed=1,
        status="running", stage="judge", progress=0.9, original_r2_key=image_key, phash=None, duplicate_of=None,
        progression_id="g", error=None, created_at=0, started_at=0, ended_at=None,
    )  # fmt: skip
    progression = Progression(
        id="g", project_id="p", parent_progression_id=None, start_image_url=None, prompt=REQUEST.prompt,
        generated_image_url="http://x/i", original_image_r2_key=image_key, ai_provider="sketch", ai_notes=[],
        ai_tags=[], judgment=None, created_at=0, job_id="j", item_id="i", edge="generate", variant_index=0,
        ai_model=None, refined_prompt=None, start_image_r2_key=inputs.start.r2_key if inputs and inputs.start else None,
        judge_status="skipped", criteria=[], retry_suggestion=None, phash=None, width=128, height=128, sha256="",
        seed=1, adjustments=[], cost_usd=0,
    )  # fmt: skip
    return Job(**{**fields, **job}), item, progression


class Recorder:
    """Reads the rows it was given and remembers what was recorded."""

    def __init__(self, *found: Any) -> None:
        self.found = found
        self.recorded: list[tuple[str, Verdict | None, JudgeStatus]] = []

    async def read(self, env: Env, state: JudgeState) -> tuple[Job, Item, Progression]:
        assert state["progression_id"] == "g"
        job, item, progression = self.found
        return job, item, progression

    async def record(self, env: Env, run: Any, verdict: Verdict | None, status: JudgeStatus) -> None:
        self.recorded.append((run, verdict, status))

    async def judge(self, env: Env) -> dict[str, Any]:
        graph = judge_builder(self.read, self.record).compile()
        state: dict[str, Any] = await graph.ainvoke(STATE, {"configurable": {"run": "the run"}}, context=env)
        return state


async def test_a_stored_image_is_judged_and_the_verdict_recorded(tmp_path: Path) -> None:
    """`look` reads the bytes by their key, `record` gets the run, the verdict and "ok"."""
    recorder = Recorder(*rows("a/b"))
    async with bare_env(tmp_path) as env:
        await env.BUCKET.put("a/b", gradient((40, 90, 200), (26, 42, 94)), content_type="image/png")
        state = await recorder.judge(env)
    [(run, verdict, status)] = recorder.recorded
    assert (run, status) == ("the run", "ok")
    assert verdict is not None and verdict.judgment == "fail"
    assert state["verdict"]["retrySuggestion"] == verdict.retry_suggestion == "Let red carry the image."


@pytest.mark.parametrize(
    ("key", "stored"), [("not/there", b""), ("a/b", b"this is no image")], ids=["bytes gone", "bytes broken"]
)
async def test_a_judge_that_crashes_is_recorded_and_fails_nothing(tmp_path: Path, key: str, stored: bytes) -> None:
    """Whatever goes wrong in looking, the graph ends and `record` is told "error" without a verdict."""
    recorder = Recorder(*rows(key))
    async with bare_env(tmp_path) as env:
        await env.BUCKET.put("a/b", stored, content_type="image/png")
        state = await recorder.judge(env)
    assert recorder.recorded == [("the run", None, "error")]
    assert state["verdict"] is None


async def test_the_judge_is_shown_the_start_image_and_the_mask(tmp_path: Path) -> None:
    """For an edit the start image is looked at too: giving it back fails."""
    start = painted("a red boat on a teal sea", 4)
    stored = StoredImage(r2_key="in/start", sha256="", mime="image/png", width=192, height=128, size=len(start))
    job, item, progression = rows("a/b", Inputs(start=stored), kind="edit", prompt="the same")
    async with bare_env(tmp_path) as env:
        for key in ("in/start", "a/b"):
            await env.BUCKET.put(key, start, content_type="image/png")
        verdict = await look(env, job, item, progression)
    assert "It is not the start image again" in [c.requirement for c in verdict.criteria if not c.met]


async def test_only_the_models_of_this_build_look(tmp_path: Path) -> None:
    """Another model's name is refused with the name of the one there is; a missing image is NotFound."""
    async with bare_env(tmp_path) as env:
        with pytest.raises(Invalid, match="builtin"):
            await ai.see(env, "openai:gpt", Sight(prompt="x", kind="generate", image_key="a"))
        with pytest.raises(NotFound):
            await ai.see(env, "builtin", Sight(prompt="x", kind="generate", image_key="a"))
