"""The events of one item, made from its row."""

from typing import Any

from tools.events import Complete, Fail, Fallback, Judge, Progress, Retry, Running
from tools.rows import Item, ItemError, Progression, Stage


def running(item: Item) -> Running:
    """The item is being worked on."""
    return Running(**_named(item))


def progress(item: Item, stage: Stage, fallback: Fallback | None = None) -> Progress:
    """How far the item is. While it is generated each event carries the latest preview, for clients that join late."""
    preview_url = item.preview_url if stage == "generate" else None
    return Progress(**_named(item), progress=item.progress, stage=stage, preview_url=preview_url, fallback=fallback)


def judged(item: Item, progression: Progression) -> Judge:
    """The verdict on the item's image, as its row has it; with a `fail` comes the request that tries again."""
    retry = None
    if progression.judgment == "fail":
        path = f"/api/jobs/{item.job_id}/items/{item.id}/retry"
        retry = Retry("POST", path, {"useSuggestion": progression.retry_suggestion is not None})
    return Judge(
        **_named(item),
        judgment=progression.judgment,
        judge_status=progression.judge_status,
        notes=progression.ai_notes,
        tags=progression.ai_tags,
        criteria=progression.criteria,
        coverage=progression.coverage,
        progression_id=progression.id,
        generated_image_url=progression.generated_image_url,
        retry_suggestion=progression.retry_suggestion,
        retry=retry,
    )


def completed(item: Item, progression: Progression) -> Complete:
    """The item ended with an image."""
    return Complete(
        **_named(item),
        scope="item",
        progression_id=progression.id,
        generated_image_url=progression.generated_image_url,
        judgment=progression.judgment,
        coverage=progression.coverage,
        adjustments=progression.adjustments,
    )


def duplicate(item: Item, kept: Item | None) -> Complete:
    """The item ended as a near-duplicate of an item that was kept."""
    progression_id = kept.progression_id if kept else None
    return Complete(**_named(item), scope="item", duplicate_of=item.duplicate_of, progression_id=progression_id)


def failed(item: Item, error: ItemError) -> Fail:
    """The item ended without an image."""
    return Fail(**_named(item), scope="item", error=error)


def _named(item: Item) -> dict[str, Any]:
    return {
        "job_id": item.job_id,
        "item_id": item.id,
        "provider": item.provider,
        "variant_index": item.variant_index,
    }
