"""A small project whose every number is known: four jobs of four providers, with all that can happen to a call.

| job | item | calls | ends as |
|---|---|---|---|
| boat, generate | openai 0 | rate limit 100 ms · 4,000 ms $0.04 | image, pass |
| | openai 1 | 2,000 ms $0.042 estimated | duplicate of openai 0 |
| | sketch 0 | 100 ms free | image, fail |
| | sketch 1 | lost by a crash · 300 ms free | image, not judged |
| lamp, edit of openai 0 | gemini 0 | outage 500 ms · circuit open · sketch 200 ms free | image by sketch, pass |
| tree, generate | workers 0 | 1,000 ms, no price, ceiling $0.50 | image, fail |
| | workers 1 | refused 800 ms | refused |
| rock, generate | gemini 0 | uncertain 300,000 ms $0.03 estimated | uncertain |
"""

import hashlib
from typing import Any

from tests.support.samples.page_site import add_project, row
from tools.db import insert_progression
from tools.env import Env
from tools.rows import InputImages, JobMetadata, JobRequest, ProviderModel, StoredImage, Tip, dump

DAY = 1_790_000_000_000
FLUX = "@cf/flux"
INSERT_JOB = """
INSERT INTO jobs (id, project_id, session_id, status, prompt, kind, request, metadata, inputs, parent_progression_id,
    body_sha256, correlation_id, created_at, started_at, ended_at)
VALUES (:id, 'p', 'secret-session', 'complete', :prompt, :kind, :request, :metadata, :inputs, :parent, :hash, 'c',
    :at, :at, :at)
"""
INSERT_ITEM = """
INSERT INTO job_items (id, job_id, position, provider, model, variant_index, seed, status, original_r2_key,
    duplicate_of, progression_id, error, created_at, started_at, ended_at)
VALUES (:id, :job, :position, :provider, :model, :variant, :seed, :status, :original, :duplicate_of, :progression,
    :error, :at, :at, :at)
"""
INSERT_CALL = """
INSERT INTO provider_attempts (id, project_id, job_id, item_id, number, provider, model, state, free, billed, failure,
    provider_code, result, bytes_sha256, cost_micros, cost_basis, created_at, sent_at, settled_at)
VALUES (:id, 'p', :job, :item, :number, :provider, :model, :state, :free, :billed, :failure, :code, :result, :sha256,
    :cost, :basis, :at, :sent, :settled)
"""


def original(item: str) -> bytes:
    """The bytes that were bought for an item."""
    return f"the original of {item}".encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def key(job: str, name: str) -> str:
    return f"project/p/jobs/{job}/orig/{name}"


async def add_job(env: Env, id: str, at: int, request: JobRequest, **facts: Any) -> None:
    await env.DB.run(
        INSERT_JOB,
        id=id,
        prompt=request.prompt,
        kind=request.kind,
        request=dump(request),
        metadata=dump(facts.get("metadata", JobMetadata())),
        inputs=dump(facts["inputs"]) if "inputs" in facts else None,
        parent=facts.get("parent"),
        hash="0" * 64,
        at=DAY + at,
    )


async def add_item(env: Env, job: str, position: int, provider: str, model: str, **facts: Any) -> str:
    variant, status = facts.get("variant", 0), facts.get("status", "complete")
    id = f"{job}-{provider}-{variant}"
    ended = {"code": status, "message": "no", "correlationId": "c"}
    await env.DB.run(
        INSERT_ITEM,
        id=id,
        job=job,
        position=position,
        provider=provider,
        model=model,
        variant=variant,
        seed=facts.get("seed"),
        status=status,
        original=key(job, f"{provider}-{variant}") if status in ("complete", "duplicate") else None,
        duplicate_of=facts.get("duplicate_of"),
        progression=f"image-{id}" if status == "complete" else None,
        error=None if status in ("complete", "duplicate") else dump(ended),
        at=DAY,
    )
    return id


async def add_call(env: Env, item: str, number: int, state: str, ms: int | None, **facts: Any) -> None:
    """A settled call of the item's own model unless another is named; without `ms` it was never sent."""
    job, provider, _ = item.split("-")
    brought = state == "succeeded"
    data = original(item)
    result = {"mime": "image/png", "width": 64, "height": 64, "size": len(data), "adjustments": [], "meta": {}}
    at = DAY + number * 1000
    await env.DB.run(
        INSERT_CALL,
        id=f"{item}-call-{number}",
        job=job,
        item=item,
        number=number,
        provider=facts.get("provider", provider),
        model=facts["model"],
        state=state,
        free=int(facts.get("free", False)),
        billed=int("cost" in facts),
        failure=facts.get("failure"),
        code=facts.get("code"),
        result=dump(result) if brought else None,
        sha256=sha256(data) if brought else None,
        cost=facts.get("cost", 0),
        basis=facts.get("basis"),
        at=at,
        sent=None if ms is None else at,
        settled=at + (ms or 0),
    )


async def add_version(env: Env, item: str, number: int, painter: tuple[str, str], **facts: Any) -> None:
    job, provider, variant = item.split("-")
    image = row(
        "p",
        number,
        id=f"image-{item}",
        item_id=item,
        job_id=job,
        ai_provider=painter[0],
        ai_model=painter[1],
        variant_index=int(variant),
        sha256=sha256(original(item)),
        original_image_r2_key=key(job, f"{provider}-{variant}"),
        generated_image_url=f"/images/image-{item}/public",
        **facts,
    )
    async with env.DB.transaction() as tx:
        await insert_progression(tx, image)


def request(prompt: str, *providers: tuple[str, str], **more: Any) -> JobRequest:
    named = [{"provider": provider, "model": model} for provider, model in providers]
    return JobRequest(prompt=prompt, providers=named, session_id="secret-session", **more)


OPENAI, SKETCH, GEMINI, WORKERS = ("openai", "gpt-x"), ("sketch", "sketch-1"), ("gemini", "g-1"), ("workers", FLUX)
LITERAL, FOCUS = Tip("openai.literal", "Show exactly what is described."), Tip("sketch.one-focus", "One place to rest.")


async def add_studio(env: Env) -> None:
    """Add the project `p` of the table above. BUCKET stays empty."""
    await add_project(env, "p", "Harbour", "Posters")
    await _boat(env)
    await _lamp(env)
    await _tree(env)
    await _rock(env)


async def _boat(env: Env) -> None:
    metadata = JobMetadata(applied_tips={"openai": [LITERAL], "sketch": [FOCUS]})
    await add_job(env, "boat", 1, request("a red boat", OPENAI, SKETCH, variants=2, size="64x64"), metadata=metadata)
    first = await add_item(env, "boat", 0, *OPENAI, seed=40)
    await add_call(env, first, 1, "failed", 100, model="gpt-x", failure="rate")
    await add_call(env, first, 2, "succeeded", 4000, model="gpt-x", cost=40_000, basis="usage")
    await add_version(env, first, 1, OPENAI, prompt="a red boat", judgment="pass", seed=40)
    again = await add_item(env, "boat", 1, *OPENAI, variant=1, seed=41, status="duplicate", duplicate_of=first)
    await add_call(env, again, 1, "succeeded", 2000, model="gpt-x", cost=42_000, basis="estimate")
    third = await add_item(env, "boat", 2, *SKETCH, seed=40)
    await add_call(env, third, 1, "succeeded", 100, model="sketch-1", free=True, basis="free")
    await add_version(env, third, 2, SKETCH, prompt="a red boat", judgment="fail", seed=40)
    fourth = await add_item(env, "boat", 3, *SKETCH, variant=1, seed=41)
    await add_call(env, fourth, 1, "abandoned", 9000, model="sketch-1", free=True, basis="free")
    await add_call(env, fourth, 2, "succeeded", 300, model="sketch-1", free=True, basis="free")
    await add_version(env, fourth, 3, SKETCH, prompt="a red boat", seed=41)


async def _lamp(env: Env) -> None:
    parent, start = "image-boat-openai-0", original("boat-openai-0")
    stored = StoredImage(key("lamp", "start"), sha256(start), "image/png", 64, 64, len(start))
    asked = request("light the lamp", GEMINI, start_image_url=f"progression:{parent}", kind="edit")
    metadata = JobMetadata(applied_tips={"gemini": [], "sketch": [FOCUS]}, fallback=[ProviderModel(*SKETCH)])
    await add_job(env, "lamp", 2, asked, metadata=metadata, inputs=InputImages(start=stored), parent=parent)
    item = await add_item(env, "lamp", 0, *GEMINI)
    await add_call(env, item, 1, "failed", 500, model="g-1", failure="outage")
    await add_call(env, item, 2, "failed", None, model="g-1", failure="outage", code="circuit_open")
    painter = {"provider": "sketch", "model": "sketch-1", "free": True}
    await add_call(env, item, 3, "succeeded", 200, **painter, basis="free")
    facts = {"parent_progression_id": parent, "start_image_r2_key": stored.r2_key, "edge": "edit"}
    await add_version(env, item, 4, SKETCH, prompt="light the lamp", judgment="pass", **facts)


async def _tree(env: Env) -> None:
    await add_job(env, "tree", 3, request("=a tree", WORKERS, variants=2, seed=7))
    first = await add_item(env, "tree", 0, *WORKERS, seed=7)
    await add_call(env, first, 1, "succeeded", 1000, model=FLUX, cost=500_000, basis="ceiling")
    await add_version(env, first, 5, WORKERS, prompt="=a tree", judgment="fail", seed=7)
    second = await add_item(env, "tree", 1, *WORKERS, variant=1, seed=8, status="refused")
    await add_call(env, second, 1, "refused", 800, model=FLUX, failure="refused")


async def _rock(env: Env) -> None:
    await add_job(env, "rock", 4, request("a rock", GEMINI))
    item = await add_item(env, "rock", 0, *GEMINI, status="uncertain")
    await add_call(env, item, 1, "uncertain", 300_000, model="g-1", failure="outage", cost=30_000, basis="estimate")


async def step_back(env: Env) -> None:
    """A rollback to the first image: a version with the same bytes that no vendor made."""
    image = row(
        "p",
        6,
        id="back",
        edge="rollback",
        parent_progression_id="image-boat-openai-0",
        ai_provider="openai",
        ai_model="gpt-x",
        prompt="a red boat",
        sha256=sha256(original("boat-openai-0")),
        original_image_r2_key=key("boat", "openai-0"),
    )
    async with env.DB.transaction() as tx:
        await insert_progression(tx, image)
