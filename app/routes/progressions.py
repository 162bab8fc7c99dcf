"""Progressions: the stored versions of images, and the graph of which was made from which."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from app.http.schemas import CLEAN, Cursor, Limit, Rollback, cleaned, invalid
from tools import db, images
from tools.env import Env
from tools.format import to_usd
from tools.ledger import jobs
from tools.pages import LIMIT, Page
from tools.publishing.addresses import whole
from tools.rows import Judgment, Progression, derived_id

MOST_TAGS, LONGEST_TAG = 32, 200
ONE_TAG = CLEAN.replace("[^", "[^\\[", 1)
"""Pattern of a value that is one tag; a value that starts with `[` is a JSON array of tags."""
Text = Annotated[
    str,
    QueryParameter(
        name="query",
        max_length=1000,
        pattern=CLEAN,
        description="words that the prompt, the notes or the tags contain, all of them, in any case and order; "
        'those in "double quotes", or “typographic ones”, together',
    ),
]
TAG_LIST: dict[str, Any] = {
    "max_items": MOST_TAGS,
    "description": "repeated, or one JSON array of strings; an image must have all of them, in any case",
    "schema_extra": {"items": {"type": "string", "maxLength": LONGEST_TAG, "pattern": ONE_TAG}},
}
Tags = Annotated[list[str] | None, QueryParameter(**TAG_LIST)]
# As many clients write a repeated parameter.
BracketedTags = Annotated[list[str] | None, QueryParameter(name="tags[]", **TAG_LIST)]
Provider = Annotated[str | None, QueryParameter(max_length=64, pattern=CLEAN)]
Verdict = Annotated[Judgment | None, QueryParameter()]


class ProgressionView(Progression, frozen=True):
    """A row of `image_progressions` under its column names; `cost_usd` in dollars."""

    cost_usd: float  # type: ignore[assignment]  # the row holds integer micro-USD


class LineageView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Ancestors from the parent to the root, descendants by generation, and the typed edges between them.

    `truncated` when there were more than 1,000 of either.
    """

    progression_id: str
    ancestors: list[ProgressionView]
    descendants: list[ProgressionView]
    edges: list[db.LineageEdge]
    truncated: bool


@get("/api/projects/{project_id:str}/progressions", opt={"access": "read"}, tags=["progressions"])
async def list_progressions(
    project_id: FromPath[str],
    env: NamedDependency[Env],
    text: Text = "",
    tags: Tags = None,
    bracketed_tags: BracketedTags = None,
    provider: Provider = None,
    judgment: Verdict = None,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[ProgressionView]:
    """The project's progressions, newest first. In the query only quotation marks have a meaning."""
    both = [*read_tags(tags or []), *read_tags(bracketed_tags or [])]
    wanted = cleaned({"query": text, "tags": both, "provider": provider})
    found = await db.list_progressions(env, project_id, **wanted, judgment=judgment, cursor=cursor, limit=limit)
    return Page([progression_view(env, row) for row in found.items], found.next_cursor)


@get("/api/jobs/{job_id:str}/progressions", opt={"access": "read"}, tags=["progressions"])
async def list_job_progressions(job_id: FromPath[str], env: NamedDependency[Env]) -> Page[ProgressionView]:
    """All images that the job has made so far, in the order of their making; a job has at most 64."""
    await jobs.get(env, job_id)
    return Page([progression_view(env, row) for row in await db.job_progressions(env, job_id)], None)


@get("/api/progressions/{progression_id:str}", opt={"access": "read"}, tags=["progressions"])
async def show_progression(progression_id: FromPath[str], env: NamedDependency[Env]) -> ProgressionView:
    """One progression."""
    return progression_view(env, await db.get_progression(env, progression_id))


@get("/api/progressions/{progression_id:str}/lineage", opt={"access": "read"}, tags=["progressions"])
async def show_lineage(progression_id: FromPath[str], env: NamedDependency[Env]) -> LineageView:
    """What the progression was made from, and what was made from it."""
    found = await db.lineage(env, progression_id)
    return LineageView(
        progression_id=found.progression_id,
        ancestors=[progression_view(env, row) for row in found.ancestors],
        descendants=[progression_view(env, row) for row in found.descendants],
        edges=found.edges,
        truncated=found.truncated,
    )


@post("/api/progressions/{progression_id:str}/rollback", tags=["progressions"])
async def roll_back(
    progression_id: FromPath[str], env: NamedDependency[Env], data: JSONBody[Rollback | None] = None
) -> ProgressionView:
    """Return to an earlier image: a new progression with the bytes of that one's original or of its start image."""
    if data is None or data.base == "original":
        return progression_view(env, await db.rollback(env, progression_id, "original"))
    row = await db.get_progression(env, progression_id)
    return progression_view(env, await db.rollback(env, progression_id, "start", await publish_start(env, row)))


async def publish_start(env: Env, row: Progression) -> db.Delivery:
    """Publish the image that a progression was made from.

    Effect: IMAGES put under an id derived from the progression.
    """
    data = await env.BUCKET.get(db.start_key(row))
    facts = await images.inspect(env, data)
    url = await images.upload_delivery(env, derived_id("start", row.id), data)
    return db.Delivery(url=url, sha256=facts.sha256, width=facts.width, height=facts.height)


def progression_view(env: Env, row: Progression) -> ProgressionView:
    """The row with the address of its image and its cost in US dollars."""
    told = {"generated_image_url": whole(env.settings, row.generated_image_url), "cost_usd": to_usd(row.cost_usd)}
    return ProgressionView(**{**msgspec.structs.asdict(row), **told})


def read_tags(values: list[str]) -> list[str]:
    """The tags of one parameter: each value is a tag or a JSON array of tags; blank ones are dropped.

    Fails: Invalid (400) naming `tags`.
    """
    tags: list[str] = []
    for value in values:
        if not value.startswith("["):
            tags.append(value)
            continue
        try:
            tags += msgspec.json.decode(value, type=list[str])
        except msgspec.MsgspecError:
            raise invalid("tags", "Expected a JSON array of strings") from None
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise invalid("tags", f"Expected at most {MOST_TAGS} tags of at most {LONGEST_TAG} characters")
    return [tag for tag in tags if tag.strip()]


handlers = [list_progressions, list_job_progressions, show_progression, show_lineage, roll_back]
