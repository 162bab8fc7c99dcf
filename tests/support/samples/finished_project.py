"""A project as finished work leaves it: jobs of three providers with ledger, lineage, verdicts, originals in BUCKET."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from PIL import Image

from tests.support.files.images import encoded
from tests.support.samples.page_site import add_project, row
from tools.db import insert_progression
from tools.env import Env, Statements
from tools.rows import (
    Attempt,
    Criterion,
    InputImages,
    Item,
    Job,
    JobMetadata,
    JobRequest,
    Progression,
    Tip,
    derived_id,
    params,
)

START = 1_790_000_000_000
MINUTE = 60_000
PROMPTS = (
    "A teal carafe on a linen table, soft morning light",
    "A lighthouse on a cliff at dusk, deep blue sea and an orange sky",
    "A poster of a red fox in a snowy forest, generous margins, three colours at most",
)
MAKERS = (("gemini", "gemini-image"), ("openai", "gpt-image"), ("sketch", "sketch-1"))
SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
COLOURS = ("teal", "orange", "crimson", "navy", "olive", "gold", "plum", "gray", "salmon")

Words = Callable[[str], str]
"""What stands in the rows instead of a plain text: the same for plain projects, a payload for hostile ones."""
Painter = Callable[[int, int, int], bytes]
"""The bytes of the `n`-th image of a width and a height."""


def plain(text: str) -> str:
    return text


def paint_small(number: int, width: int, height: int) -> bytes:
    """A flat picture with a lighter corner, 16 times smaller than its row states."""
    picture = Image.new("RGB", (width // 16, height // 16), COLOURS[number % len(COLOURS)])
    picture.paste("linen", (0, 0, width // 48, height // 48))
    return encoded(picture, "PNG")


async def seed(
    env: Env, project_id: str = "p", *, words: Words = plain, paint: Painter = paint_small
) -> list[Progression]:
    """Nine images of three prompts by three models and two derived from them; six passed, three failed, two not judged.

    Ids, times and bytes are the same each time. One further call was refused, and one made a duplicate.
    """
    await add_project(env, project_id, words("Aurora"), words("Images for the autumn campaign."))
    numbers, rows = itertools.count(), list[Progression]()
    for n, prompt in enumerate(PROMPTS):
        rows += await _add_job(env, project_id, n, words, [(words(prompt), next(numbers)) for _ in MAKERS], paint)
    edits = [(rows[1], "edit", "The same carafe in front of a dark wall"), (rows[3], "retry", PROMPTS[1])]
    for parent, edge, prompt in edits:
        number = next(numbers)
        facts = {"parent_progression_id": parent.id, "edge": edge, "prompt": words(prompt), "ai_provider": "sketch"}
        data = paint(number, 1024, 1024)
        image = _image(env, project_id, number, data, **facts)
        await env.BUCKET.put(image.original_image_r2_key, data, content_type="image/png")
        async with env.DB.transaction() as tx:
            await insert_progression(tx, image)
        rows.append(image)
    return rows


async def _add_job(
    env: Env, project_id: str, n: int, words: Words, wanted: Sequence[tuple[str, int]], paint: Painter
) -> list[Progression]:
    job = _job(project_id, n, words, wanted[0][0])
    made = [(number, paint(number, *SIZES[n])) for _, number in wanted]
    rows = [_made(env, job, n, place, number, data, words) for place, (number, data) in enumerate(made)]
    for image, (_, data) in zip(rows, made, strict=True):
        await env.BUCKET.put(image.original_image_r2_key, data, content_type="image/png")
    async with env.DB.transaction() as tx:
        await insert(tx, "jobs", job)
        for place, image in enumerate(rows):
            await insert(tx, "job_items", item(job, place, image))
            await insert(tx, "provider_attempts", attempt(job, image))
            await insert_progression(tx, image)
        await _add_ends(tx, job, n, rows[0])
    return rows


def _job(project_id: str, n: int, words: Words, prompt: str) -> Job:
    at = START + n * 60 * MINUTE
    providers = [{"provider": provider, "model": words(model)} for provider, model in MAKERS]
    tips = [
        Tip(f"{provider}.light", words(f"Name the light before the lens, {provider} likes it."))
        for provider, _ in MAKERS
    ]
    return Job(
        id=f"{project_id}-job-{n}",
        project_id=project_id,
        session_id="session",
        status="complete",
        prompt=prompt,
        kind="generate",
        request=JobRequest(
            prompt=prompt,
            providers=providers,
            session_id="session",
            size="x".join(map(str, SIZES[n])),
            seed=40 + n,
            negative_prompt=words("no text") if n else None,
        ),
        metadata=JobMetadata(
            applied_tips={tip.key.partition(".")[0]: [tip] for tip in tips},
            refined_prompt={provider: words(f"{prompt}. Light first.") for provider, _ in MAKERS},
        ),
        inputs=InputImages(),
        parent_progression_id=None,
        retry_of=None,
        body_sha256="0" * 64,
        correlation_id="c",
        first_seq=1,
        fence=1,
        idle_claims=0,
        lease_until=0,
        created_at=at,
        started_at=at + 100,
        ended_at=at + MINUTE,
    )


def _made(env: Env, job: Job, n: int, place: int, number: int, data: bytes, words: Words) -> Progression:
    provider, model = MAKERS[place]
    width, height = SIZES[n]
    fails = (n + place) % 3 == 2
    requirement = words(f"The {('carafe', 'lighthouse', 'fox')[n]} is there")
    return _image(
        env,
        job.project_id,
        number,
        data,
        width=width,
        height=height,
        prompt=job.prompt,
        refined_prompt=job.metadata.refined_prompt[provider],
        ai_provider=provider,
        ai_model=words(model),
        ai_notes=[words("Calm and well lit."), words("The horizon tilts a little.")],
        ai_tags=[words("deep teal" if n == 0 else "dusk orange"), words("linen"), words("calm")],
        judgment="fail" if fails else "pass",
        judge_status="ok",
        criteria=[
            Criterion(requirement, True, words("It fills the middle of the picture.")),
            Criterion(words("Soft light"), not fails, words("The shadows are hard." if fails else "Shadows are soft.")),
        ],
        retry_suggestion=words("soften the shadows") if fails else None,
        created_at=job.created_at + (place + 1) * 8_000,
        job_id=job.id,
        item_id=derived_id(job.id, provider, 0),
        original_image_r2_key=f"project/{job.project_id}/jobs/{job.id}/orig/{provider}-0",
        start_image_r2_key=None,
        seed=40 + n if place else None,
        adjustments=[] if place else [words("the seed is not used by this model")],
        cost_usd=(39_000, 42_100, 0)[place],
    )


def _image(env: Env, project_id: str, number: int, data: bytes, **facts: Any) -> Progression:
    url = f"/images/{project_id}-{number}/public"
    plain_facts = {"generated_image_url": url, "sha256": hashlib.sha256(data).hexdigest(), "phash": f"{number:016x}"}
    return row(project_id, number, **{"created_at": START + (200 + number) * MINUTE, **plain_facts, **facts})


def item(job: Job, place: int, image: Progression) -> Item:
    assert image.item_id is not None
    return Item(
        id=image.item_id,
        job_id=job.id,
        position=place,
        provider=image.ai_provider,
        model=image.ai_model or "",
        variant_index=0,
        seed=image.seed,
        status="complete",
        stage="judge",
        progress=1.0,
        original_r2_key=image.original_image_r2_key,
        phash=image.phash,
        duplicate_of=None,
        progression_id=image.id,
        error=None,
        created_at=job.created_at,
        started_at=job.created_at + 200,
        ended_at=image.created_at,
        reserved_micros=0,
        preview_url=None,
    )


def attempt(job: Job, image: Progression) -> Attempt:
    assert image.item_id is not None
    free = image.ai_provider == "sketch"
    return Attempt(
        id=derived_id(image.item_id, 1),
        job_id=job.id,
        item_id=image.item_id,
        number=1,
        provider=image.ai_provider,
        model=image.ai_model or "",
        state="succeeded",
        free=int(free),
        billed=int(not free),
        failure=None,
        provider_code=None,
        provider_status=200,
        request_id=None,
        usage=None,
        result=None,
        bytes_sha256=image.sha256,
        cost_micros=image.cost_usd,
        price_version=None,
        created_at=job.created_at + 300,
        sent_at=job.created_at + 400,
        settled_at=image.created_at - 500,
        project_id=job.project_id,
        quote_micros=image.cost_usd,
        cost_basis="free" if free else "usage",
        retry_at=None,
    )


async def _add_ends(tx: Statements, job: Job, n: int, kept: Progression) -> None:
    """Add items without an image: in the first job one that was refused, in the second a duplicate."""
    end = msgspec.structs.replace(
        item(job, len(MAKERS), kept),
        id=derived_id(job.id, "more", n),
        variant_index=1,
        progression_id=None,
        original_r2_key=None,
        phash=None,
        ended_at=job.created_at + 9_000,
    )
    call = msgspec.structs.replace(attempt(job, kept), id=derived_id(end.id, 1), item_id=end.id)
    if n == 0:
        error = {"code": "content_policy", "message": "the vendor refused", "correlationId": "c", "kind": "refused"}
        await insert(tx, "job_items", msgspec.structs.replace(end, status="refused", error=error))
        refused = msgspec.structs.replace(
            call, state="refused", failure="refused", bytes_sha256=None, billed=0, cost_micros=0, provider_status=400
        )
        await insert(tx, "provider_attempts", refused)
    elif n == 1:
        await insert(tx, "job_items", msgspec.structs.replace(end, status="duplicate", duplicate_of=kept.item_id))
        await insert(tx, "provider_attempts", call)


async def insert(tx: Statements, table: str, struct: msgspec.Struct) -> None:
    columns = params(struct)
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    await tx.run(f"INSERT INTO {table} ({names}) VALUES ({values})", **columns)
